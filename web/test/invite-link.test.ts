import { describe, expect, it } from 'vitest';
import { inviteOf, parsePastedLink } from '../src/lib/invite-link';

const origin = 'https://meet.example.org';
const link = `${origin}/m/brave-otter-42#s3cret`;

describe('inviteOf', () => {
  it('reads room and invite', () => {
    expect(inviteOf(new URL(link))).toEqual({ room: 'brave-otter-42', invite: 's3cret' });
    expect(inviteOf(new URL(`${origin}/m/caf%C3%A9/#a%2Bb`))).toEqual({ room: 'café', invite: 'a+b' });
  });

  it.each(['/', '/m/', '/m/room', '/m/room#', '/m/a/b#x', '/x/room#x', '/m/%E0%A4%A#x'])('refuses %s', (path) => {
    expect(inviteOf(new URL(path, origin))).toBeNull();
  });
});

describe('parsePastedLink', () => {
  it.each([link, ` ${link}\n`, `<${link}>`, 'meet.example.org/m/brave-otter-42#s3cret', '/m/brave-otter-42#s3cret'])(
    'understands %o',
    (pasted) => {
      expect(parsePastedLink(pasted, origin)?.href).toBe(link);
    },
  );

  it('keeps the server of a link to another server', () => {
    expect(parsePastedLink('https://other.org:7880/m/a#b', origin)?.host).toBe('other.org:7880');
  });

  it.each(['', 'hello', 'two words', 'javascript://x/m/a#b', 'ftp://host/m/a#b', `${origin}/m/room`, 'https://'])('refuses %o', (pasted) => {
    expect(parsePastedLink(pasted, origin)).toBeNull();
  });
});
