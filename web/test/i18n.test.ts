import { describe, expect, it } from 'vitest';
import { fill, languages, pickLanguage } from '../src/i18n';

const placeholders = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

describe.each(Object.entries(languages))('%s', (_name, messages: Record<string, string>) => {
  it('has exactly the keys of English', () => {
    expect(Object.keys(messages).sort()).toEqual(Object.keys(languages.en).sort());
  });

  it('has a text, with the same placeholders, for each key', () => {
    for (const [key, english] of Object.entries(languages.en)) {
      expect(messages[key]?.trim(), key).toBeTruthy();
      expect(placeholders(messages[key] ?? ''), key).toEqual(placeholders(english));
    }
  });
});

describe('pickLanguage', () => {
  it('takes the first language we speak, whatever the region', () => {
    expect(pickLanguage(['fr-FR', 'es-MX', 'de'])).toBe('es');
    expect(pickLanguage(['DE-at'])).toBe('de');
  });

  it('falls back to English', () => {
    expect(pickLanguage(['fr', 'constructor'])).toBe('en');
    expect(pickLanguage([])).toBe('en');
  });
});

it('fill replaces what it knows and leaves the rest', () => {
  expect(fill('{name} in {room}', { name: 'Ana' })).toBe('Ana in {room}');
});
