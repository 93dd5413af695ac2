// Meeting links: `https://host/m/<room>#<invite>`.

export interface Invite {
  room: string;
  invite: string;
}

/** Reads the room and invite of a page address; null if it is no complete meeting link. */
export function inviteOf(location: { pathname: string; hash: string }): Invite | null {
  const room = /^\/m\/([^/]+)\/?$/.exec(location.pathname)?.[1];
  const invite = location.hash.replace(/^#/, '');
  if (!room || !invite) return null;
  try {
    return { room: decodeURIComponent(room), invite: decodeURIComponent(invite) };
  } catch {
    return null; // a stray % in the address
  }
}

/**
 * Understands what people paste: a whole link, one without its scheme, or only the path.
 * Returns the address to open, which may be on another server, or null.
 */
export function parsePastedLink(text: string, origin: string): URL | null {
  const trimmed = text.trim().replace(/^<|>$/g, '');
  if (!trimmed || /\s/.test(trimmed)) return null;
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed);
  const candidate = hasScheme || trimmed.startsWith('/') ? trimmed : `${new URL(origin).protocol}//${trimmed}`;
  const url = parseUrl(candidate, origin);
  if (!url || !/^https?:$/.test(url.protocol) || !inviteOf(url)) return null;
  return url;
}

function parseUrl(candidate: string, origin: string): URL | null {
  try {
    return new URL(candidate, origin);
  } catch {
    return null;
  }
}
