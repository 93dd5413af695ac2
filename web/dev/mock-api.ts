// Development only: answers Sala's two meeting calls by minting tokens for a local LiveKit server,
// so that the page can be worked on without the `sala` binary. See README.md.
import { createHmac, randomInt, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Connect, Plugin } from 'vite';

const API_KEY = 'devkey';
const API_SECRET = 'secret';
const ADMIN = { user: 'admin', password: 'admin' };

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const sign = (text: string) => createHmac('sha256', API_SECRET).update(text).digest('base64url');
const inviteFor = (room: string) => sign(`invite:${room}`).slice(0, 16);

function mintToken(room: string, name: string, identity: string): string {
  const now = Math.floor(Date.now() / 1000);
  const grants = { iss: API_KEY, sub: identity, name, nbf: now - 5, exp: now + 6 * 3600, video: { room, roomJoin: true } };
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(grants)}`;
  return `${body}.${sign(body)}`;
}

async function readJson(request: IncomingMessage): Promise<Record<string, string>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, string>;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const reply = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const fail = (status: number, code: string) => reply(status, { error: { code, message: code } });
  const body = await readJson(request);

  if (request.url === '/join') {
    const { room = '', invite, name = '' } = body;
    if (invite !== inviteFor(room)) return fail(403, 'invalid_invite');
    if (!name.trim()) return fail(400, 'bad_name');
    const identity = randomUUID();
    return reply(200, { token: mintToken(room, name, identity), identity, room });
  }
  const expected = Buffer.from(`${ADMIN.user}:${ADMIN.password}`).toString('base64');
  if (request.headers.authorization !== `Basic ${expected}`) return fail(401, 'unauthorized');
  const room = body.room ?? `brave-otter-${randomInt(10, 100)}`;
  return reply(201, { room, path: `/m/${room}#${inviteFor(room)}` });
}

export function mockApi(): Plugin {
  const install = (middlewares: Connect.Server) => {
    middlewares.use('/api/v1/meetings', (request, response, next) => {
      if (request.method !== 'POST') return next();
      answer(request, response).catch(next);
    });
  };
  return {
    name: 'sala-mock-api',
    configureServer: (server) => install(server.middlewares),
    configurePreviewServer: (server) => install(server.middlewares),
  };
}
