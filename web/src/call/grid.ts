// How many tiles of which size fill a stage best. Pure arithmetic, in CSS pixels.

export interface Size {
  width: number;
  height: number;
}

export interface GridPlan {
  columns: number;
  tile: Size;
  perPage: number;
  pages: number;
}

export const GRID_GAP = 8;
/** Beyond this a face is too small to read, and a browser decodes too many streams. */
export const MOST_PER_PAGE = 25;
const NARROWEST_TILE = 130;
const WIDEST_ASPECT = 16 / 9;
/** Cameras are landscape: on an upright stage tiles may be upright too, else sides are cropped no further than 4:3. */
const narrowestAspect = (stage: Size) => (stage.height > stage.width ? 3 / 4 : 4 / 3);

export function planGrid(count: number, stage: Size): GridPlan {
  let perPage = Math.max(1, Math.min(count, MOST_PER_PAGE));
  let best = fit(perPage, stage);
  while (perPage > 1 && best.tile.width < NARROWEST_TILE) {
    perPage -= 1;
    best = fit(perPage, stage);
  }
  return { ...best, perPage, pages: Math.max(1, Math.ceil(count / perPage)) };
}

/** The number of columns at which `count` equal tiles are largest. */
function fit(count: number, stage: Size): { columns: number; tile: Size } {
  let best = { columns: 1, tile: tileFor(1, count, stage) };
  for (let columns = 2; columns <= count; columns += 1) {
    const tile = tileFor(columns, Math.ceil(count / columns), stage);
    if (area(tile) > area(best.tile)) best = { columns, tile };
  }
  return best;
}

function tileFor(columns: number, rows: number, stage: Size): Size {
  const cell = {
    width: Math.max(0, (stage.width - GRID_GAP * (columns - 1)) / columns),
    height: Math.max(0, (stage.height - GRID_GAP * (rows - 1)) / rows),
  };
  const width = Math.min(cell.width, cell.height * WIDEST_ASPECT);
  const height = Math.min(cell.height, width / narrowestAspect(stage));
  return { width: Math.floor(width), height: Math.floor(height) };
}

const area = ({ width, height }: Size) => width * height;
