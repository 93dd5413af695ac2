import { useVisualStableUpdate } from '@livekit/components-react';
import { ChevronLeft, ChevronRight } from 'lucide-react';
import { useState } from 'react';
import { t } from '../i18n';
import { IconButton } from '../ui/Button';
import { planGrid, type GridPlan, type Size } from './grid';
import { TileOf } from './TileOf';
import { useSize } from './useSize';
import type { Stage, StageTile } from './useStage';

/** Everyone equally large; pages when there are too many. */
export function GridView({ stage }: { stage: Stage }) {
  const [frame, size] = useSize<HTMLDivElement>();
  return (
    <div className="grid-frame" ref={frame}>
      {size && <Grid stage={stage} size={size} />}
    </div>
  );
}

function Grid({ stage, size }: { stage: Stage; size: Size }) {
  const plan = planPages(stage.tiles.length, size);
  const ordered = useStableOrder(stage.tiles, plan.perPage);
  const [wantedPage, setPage] = useState(0);
  const page = Math.min(wantedPage, plan.pages - 1);
  const shown = ordered.slice(page * plan.perPage, (page + 1) * plan.perPage);
  return (
    <>
      <ul className="grid" style={{ '--tile-width': `${plan.tile.width}px`, '--tile-height': `${plan.tile.height}px` }}>
        {shown.map((tile) => (
          <li key={tile.id}>
            <TileOf tile={tile} stage={stage} />
          </li>
        ))}
      </ul>
      {plan.pages > 1 && <Pager page={page} pages={plan.pages} onPage={setPage} />}
    </>
  );
}

const PAGER_HEIGHT = 44;

/** The pager needs a strip of its own, but only where there are pages. */
function planPages(count: number, size: Size): GridPlan {
  const plan = planGrid(count, size);
  return plan.pages === 1 ? plan : planGrid(count, { ...size, height: size.height - PAGER_HEIGHT });
}

/** Speakers move onto the first page, but no one else moves for it. */
function useStableOrder(tiles: StageTile[], perPage: number): StageTile[] {
  const tracks = useVisualStableUpdate(
    tiles.map((tile) => tile.track),
    perPage,
  );
  const byId = new Map(tiles.map((tile) => [tile.id, tile]));
  return tracks.flatMap((track) => byId.get(`${track.participant.identity}/${track.source}`) ?? []);
}

function Pager({ page, pages, onPage }: { page: number; pages: number; onPage: (page: number) => void }) {
  return (
    <nav className="pager" aria-label={t('stage.pages', { page: page + 1, pages })}>
      <IconButton look="quiet" label={t('stage.previous')} disabled={page === 0} onClick={() => onPage(page - 1)}>
        <ChevronLeft size={20} />
      </IconButton>
      <span aria-hidden>
        {page + 1} / {pages}
      </span>
      <IconButton look="quiet" label={t('stage.next')} disabled={page === pages - 1} onClick={() => onPage(page + 1)}>
        <ChevronRight size={20} />
      </IconButton>
    </nav>
  );
}
