// Which layout is shown and who is pinned. A shared screen brings the speaker layout, and gives back what was before.

export type LayoutMode = 'grid' | 'speaker';

export interface Layout {
  mode: LayoutMode;
  /** What to go back to when the shared screen ends; null once the person has chosen for themselves. */
  before: LayoutMode | null;
  /** Tile id of the one who is kept large. */
  pinned: string | null;
}

export type LayoutEvent =
  | { type: 'toggled' }
  | { type: 'screen-shared' }
  | { type: 'screen-ended' }
  | { type: 'pin-toggled'; id: string };

export const initialLayout: Layout = { mode: 'grid', before: null, pinned: null };

export function nextLayout(layout: Layout, event: LayoutEvent): Layout {
  switch (event.type) {
    case 'toggled':
      return { mode: layout.mode === 'grid' ? 'speaker' : 'grid', before: null, pinned: null };
    case 'screen-shared':
      return { mode: 'speaker', before: layout.mode, pinned: null };
    case 'screen-ended':
      return layout.before === null ? layout : { ...layout, mode: layout.before, before: null };
    case 'pin-toggled':
      if (layout.pinned === event.id) return { ...layout, pinned: null };
      return { ...layout, mode: 'speaker', pinned: event.id };
  }
}

/** The tile to show large, by falling weight: pinned, a shared screen, who spoke last, anyone but me, me. */
export function chooseFocus<T extends { id: string; isScreen: boolean; isLocal: boolean }>(
  tiles: readonly T[],
  pinned: string | null,
  lastSpeaker: string | null,
): T | undefined {
  return (
    tiles.find((tile) => tile.id === pinned) ??
    tiles.findLast((tile) => tile.isScreen) ??
    tiles.find((tile) => tile.id === lastSpeaker) ??
    tiles.find((tile) => !tile.isLocal) ??
    tiles[0]
  );
}
