import { expect, it } from 'vitest';
import { splitLinks } from '../src/call/links';

it('finds web addresses and leaves the punctuation after them alone', () => {
  expect(splitLinks('See https://a.org/x?y=1, (http://b.org/).')).toEqual([
    { text: 'See ' },
    { text: 'https://a.org/x?y=1', href: 'https://a.org/x?y=1' },
    { text: ', (' },
    { text: 'http://b.org/', href: 'http://b.org/' },
    { text: ').' },
  ]);
});

it('makes no link of anything else', () => {
  expect(splitLinks('javascript:alert(1) www.a.org')).toEqual([{ text: 'javascript:alert(1) www.a.org' }]);
});
