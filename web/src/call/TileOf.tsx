import { ParticipantTile, ScreenTile } from './Tile';
import type { Stage, StageTile } from './useStage';

/** The right tile for what it shows, with its pin button wired to the stage. */
export function TileOf({ tile, stage }: { tile: StageTile; stage: Stage }) {
  const choice = stage.tiles.length > 1;
  const pin = { pinned: stage.pinned === tile.id, onPin: choice ? () => stage.togglePin(tile.id) : undefined };
  return tile.isScreen ? <ScreenTile track={tile.track} {...pin} /> : <ParticipantTile track={tile.track} {...pin} />;
}
