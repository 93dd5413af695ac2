import { describe, expect, it } from 'vitest';
import { GRID_GAP, MOST_PER_PAGE, planGrid, type Size } from '../src/call/grid';

const desktop: Size = { width: 1256, height: 716 };
const phone: Size = { width: 344, height: 636 };

describe('planGrid', () => {
  it('fills a desktop stage with a single wide tile', () => {
    const { tile } = planGrid(1, desktop);
    expect(tile.width).toBe(1256);
    expect(tile.width / tile.height).toBeLessThanOrEqual(16 / 9);
  });

  it('puts two people side by side on a desktop and one above the other on a phone', () => {
    expect(planGrid(2, desktop).columns).toBe(2);
    expect(planGrid(2, phone).columns).toBe(1);
  });

  it.each([desktop, phone, { width: 900, height: 300 }, { width: 320, height: 200 }])('never overflows the stage %o', (stage) => {
    for (let count = 1; count <= 60; count += 1) {
      const { columns, tile, perPage } = planGrid(count, stage);
      const rows = Math.ceil(perPage / columns);
      expect(columns * tile.width + (columns - 1) * GRID_GAP).toBeLessThanOrEqual(stage.width);
      expect(rows * tile.height + (rows - 1) * GRID_GAP).toBeLessThanOrEqual(stage.height);
    }
  });

  it('shows everyone, on as many pages as needed', () => {
    for (const count of [1, 24, 25, 26, 51, 200]) {
      const { perPage, pages } = planGrid(count, desktop);
      expect(perPage).toBeLessThanOrEqual(MOST_PER_PAGE);
      expect(perPage * pages).toBeGreaterThanOrEqual(count);
      expect(perPage * (pages - 1)).toBeLessThan(count);
    }
    expect(planGrid(25, desktop).pages).toBe(1);
  });

  it('turns to pages on a phone before faces become too small', () => {
    const { tile, pages } = planGrid(25, phone);
    expect(tile.width).toBeGreaterThanOrEqual(130);
    expect(pages).toBeGreaterThan(1);
  });

  it('survives an empty room and a stage that has no size yet', () => {
    expect(planGrid(0, desktop).pages).toBe(1);
    expect(planGrid(4, { width: 0, height: 0 }).tile).toEqual({ width: 0, height: 0 });
  });
});
