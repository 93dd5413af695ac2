import { planGrid } from './grid';
import { TileOf } from './TileOf';
import { useSize } from './useSize';
import type { Stage } from './useStage';

/** One large, the others in a strip beside or below. */
export function SpeakerView({ stage }: { stage: Stage }) {
  const [frame, size] = useSize<HTMLDivElement>();
  const { focus } = stage;
  const others = stage.tiles.filter((tile) => tile !== focus);
  const room = size && (focus?.isScreen ? size : planGrid(1, size).tile);
  return (
    <div className="speaker">
      <div className="speaker-main" ref={frame} data-testid="speaker-main">
        {focus && room && (
          <div style={{ width: room.width, height: room.height }}>
            <TileOf key={focus.id} tile={focus} stage={stage} />
          </div>
        )}
      </div>
      {others.length > 0 && (
        <ul className="speaker-strip">
          {others.map((tile) => (
            <li key={tile.id}>
              <TileOf tile={tile} stage={stage} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
