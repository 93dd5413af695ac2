import { expect, it } from 'vitest';
import { hueOf, initialsOf } from '../src/ui/initials';

it.each([
  ['Ana', 'A'],
  ['ana garcía lópez', 'AL'],
  ['  ', '?'],
  ['李 小龙', '李小'],
  ['👩‍🚀 Astro', '👩A'],
])('initials of %o are %o', (name, initials) => {
  expect(initialsOf(name)).toBe(initials);
});

it('gives the same person the same colour', () => {
  expect(hueOf('ana')).toBe(hueOf('ana'));
  expect(hueOf('ana')).not.toBe(hueOf('jon'));
});
