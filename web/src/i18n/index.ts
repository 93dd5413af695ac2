// All text of the page. The language is the browser's, chosen once when the page loads.
import { de } from './de';
import { en } from './en';
import { es } from './es';

export type MessageKey = keyof typeof en;
export type Messages = Record<MessageKey, string>;
export type Variables = Record<string, string | number>;

export const languages = { en, de, es } satisfies Record<string, Messages>;
export type Language = keyof typeof languages;

/** The first of the wanted languages that we speak; regions are ignored (`es-MX` is `es`). */
export function pickLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const base = tag.toLowerCase().split('-')[0] ?? '';
    if (Object.hasOwn(languages, base)) return base as Language;
  }
  return 'en';
}

/** Replaces each `{name}` by its value. */
export function fill(text: string, variables: Variables = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, key: string) => String(variables[key] ?? whole));
}

export const language = pickLanguage(globalThis.navigator?.languages ?? []);
const messages: Messages = languages[language];
const plural = new Intl.PluralRules(language);

export function t(key: MessageKey, variables?: Variables): string {
  return fill(messages[key], variables);
}

type Countable = MessageKey extends infer K ? (K extends `${infer Base}_other` ? Base : never) : never;

/** The message in the form that `count` takes in this language. */
export function tCount(key: Countable, count: number): string {
  return t(plural.select(count) === 'one' ? `${key}_one` : `${key}_other`, { count });
}

export function formatTime(timestamp: number): string {
  return new Date(timestamp).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit' });
}
