// The page's two addresses need no router: `/` and `/m/<room>#<invite>`.
import { useSyncExternalStore } from 'react';

const subscribe = (changed: () => void) => {
  window.addEventListener('popstate', changed);
  window.addEventListener('hashchange', changed);
  return () => {
    window.removeEventListener('popstate', changed);
    window.removeEventListener('hashchange', changed);
  };
};

/** The current address; the component renders again when it changes. */
export function useAddress(): URL {
  return new URL(useSyncExternalStore(subscribe, () => window.location.href));
}

export function navigate(path: string): void {
  history.pushState(null, '', path);
  window.dispatchEvent(new PopStateEvent('popstate'));
}
