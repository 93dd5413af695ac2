// Sala's meeting API: create a meeting, join one. Same origin as the page.

export type ApiProblem = 'unauthorized' | 'invalid-invite' | 'bad-request' | 'unreachable' | 'unexpected';

export class ApiError extends Error {
  constructor(
    readonly problem: ApiProblem,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export interface CreatedMeeting {
  room: string;
  path: string;
}

export interface Admission {
  token: string;
  identity: string;
  room: string;
}

export function createMeeting(user: string, password: string): Promise<CreatedMeeting> {
  return post<CreatedMeeting>('/api/v1/meetings', {}, { Authorization: `Basic ${base64(`${user}:${password}`)}` });
}

export function joinMeeting(room: string, invite: string, name: string): Promise<Admission> {
  return post<Admission>('/api/v1/meetings/join', { room, invite, name });
}

/** A server that takes longer than this to answer counts as unreachable. */
const ANSWER_WITHIN_MS = 10_000;

async function post<T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch {
    throw new ApiError('unreachable', 'The server does not answer');
  }
  const answer = (await response.json().catch(() => ({}))) as { error?: { message?: string } };
  if (response.ok) return answer as T;
  throw new ApiError(problemOf(response.status), answer.error?.message ?? `HTTP ${response.status}`);
}

function problemOf(status: number): ApiProblem {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 403:
    case 404:
      return 'invalid-invite';
    case 400:
    case 422:
      return 'bad-request';
    case 502:
    case 503:
    case 504:
      return 'unreachable';
    default:
      return 'unexpected';
  }
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
