// Light or dark: the system's choice until the visitor makes one.
import { useSyncExternalStore } from 'react';
import { loadPreferences, savePreferences } from './storage';

export type Theme = 'light' | 'dark';

const systemDark = globalThis.matchMedia?.('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

function currentTheme(): Theme {
  return loadPreferences().theme ?? (systemDark?.matches ? 'dark' : 'light');
}

export function applyStoredTheme(): void {
  const { theme } = loadPreferences();
  if (theme) document.documentElement.dataset.theme = theme;
}

export function toggleTheme(): void {
  savePreferences({ theme: currentTheme() === 'dark' ? 'light' : 'dark' });
  applyStoredTheme();
  listeners.forEach((changed) => changed());
}

export function useTheme(): Theme {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    systemDark?.addEventListener('change', changed);
    return () => {
      listeners.delete(changed);
      systemDark?.removeEventListener('change', changed);
    };
  }, currentTheme);
}
