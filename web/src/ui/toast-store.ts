// Short messages that come and go. Anyone may show one; <Toasts> draws them.
import { useSyncExternalStore } from 'react';

export interface Toast {
  id: number;
  text: string;
  tone: 'calm' | 'good' | 'problem';
}

const SHOWN_FOR_MS = { calm: 3500, good: 3500, problem: 8000 };
/** More at once would cover the meeting; the oldest gives way. */
const MOST_SHOWN = 3;

let toasts: Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function set(changed: Toast[]): void {
  toasts = changed;
  listeners.forEach((listener) => listener());
}

export function showToast(text: string, tone: Toast['tone'] = 'calm'): void {
  const toast = { id: nextId++, text, tone };
  set([...toasts, toast].slice(-MOST_SHOWN));
  setTimeout(() => dismissToast(toast.id), SHOWN_FOR_MS[tone]);
}

export function dismissToast(id: number): void {
  set(toasts.filter((toast) => toast.id !== id));
}

export function useToasts(): Toast[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
}
