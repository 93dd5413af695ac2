import { describe, expect, it } from 'vitest';
import { chooseFocus, initialLayout, nextLayout, type LayoutEvent } from '../src/call/layout';

const after = (...events: LayoutEvent[]) => events.reduce(nextLayout, initialLayout);

describe('layout', () => {
  it('turns to the speaker layout for a shared screen and back afterwards', () => {
    expect(after({ type: 'screen-shared' }).mode).toBe('speaker');
    expect(after({ type: 'screen-shared' }, { type: 'screen-ended' }).mode).toBe('grid');
  });

  it('keeps what the person chose while the screen was shared', () => {
    expect(after({ type: 'screen-shared' }, { type: 'toggled' }, { type: 'screen-ended' }).mode).toBe('grid');
    expect(after({ type: 'toggled' }, { type: 'screen-shared' }, { type: 'screen-ended' }).mode).toBe('speaker');
  });

  it('pins one at a time, in the speaker layout', () => {
    const pinned = after({ type: 'pin-toggled', id: 'ana' }, { type: 'pin-toggled', id: 'jon' });
    expect(pinned).toMatchObject({ mode: 'speaker', pinned: 'jon' });
    expect(nextLayout(pinned, { type: 'pin-toggled', id: 'jon' }).pinned).toBeNull();
  });
});

describe('chooseFocus', () => {
  const me = { id: 'me', isScreen: false, isLocal: true };
  const ana = { id: 'ana', isScreen: false, isLocal: false };
  const jon = { id: 'jon', isScreen: false, isLocal: false };
  const screen = { id: 'ana/screen', isScreen: true, isLocal: false };

  it('prefers the pinned, then a screen, then who spoke last, then others to oneself', () => {
    const everyone = [me, ana, jon, screen];
    expect(chooseFocus(everyone, 'jon', 'ana')).toBe(jon);
    expect(chooseFocus(everyone, null, 'ana')).toBe(screen);
    expect(chooseFocus([me, ana, jon], null, 'jon')).toBe(jon);
    expect(chooseFocus([me, ana], null, null)).toBe(ana);
    expect(chooseFocus([me], null, null)).toBe(me);
  });

  it('forgets people who have left', () => {
    expect(chooseFocus([me, ana], 'gone', 'gone too')).toBe(ana);
    expect(chooseFocus([], 'gone', null)).toBeUndefined();
  });
});
