// What the browser remembers: preferences for good, a running call for the life of the tab.
import type { Invite } from './invite-link';

export interface Preferences {
  name: string;
  adminUser: string;
  microphone: boolean;
  camera: boolean;
  audioinput?: string;
  videoinput?: string;
  audiooutput?: string;
  theme?: 'light' | 'dark';
}

const DEFAULTS: Preferences = { name: '', adminUser: '', microphone: true, camera: true };
const PREFERENCES_KEY = 'sala.preferences';

export function loadPreferences(): Preferences {
  return { ...DEFAULTS, ...read<Partial<Preferences>>('localStorage', PREFERENCES_KEY) };
}

export function savePreferences(changes: Partial<Preferences>): void {
  write('localStorage', PREFERENCES_KEY, { ...loadPreferences(), ...changes });
}

/** Enough to return into the call, as the same participant, after a reload. */
export interface CallSession extends Invite {
  name: string;
  token: string;
  identity: string;
  microphone: boolean;
  camera: boolean;
}

const SESSION_KEY = 'sala.call';

export function loadCallSession({ room, invite }: Invite): CallSession | null {
  const session = read<CallSession>('sessionStorage', SESSION_KEY);
  return session?.room === room && session.invite === invite ? session : null;
}

export function saveCallSession(session: CallSession): void {
  write('sessionStorage', SESSION_KEY, session);
}

export function updateCallSession(changes: Partial<CallSession>): void {
  const session = read<CallSession>('sessionStorage', SESSION_KEY);
  if (session) saveCallSession({ ...session, ...changes });
}

export function clearCallSession(): void {
  try {
    sessionStorage.removeItem(SESSION_KEY);
  } catch {
    // storage is blocked: there was nothing to clear
  }
}

type Area = 'localStorage' | 'sessionStorage';

/** Storage may be blocked (private windows, policies); then nothing is remembered and all else works. */
function read<T>(area: Area, key: string): T | null {
  try {
    return JSON.parse(globalThis[area].getItem(key) ?? 'null') as T | null;
  } catch {
    return null;
  }
}

function write(area: Area, key: string, value: unknown): void {
  try {
    globalThis[area].setItem(key, JSON.stringify(value));
  } catch {
    // see read()
  }
}
