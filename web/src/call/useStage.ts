// Everything the stage draws, from the room's tracks: tiles, the layout, and who is large.
import { useSpeakingParticipants, useTracks, type TrackReferenceOrPlaceholder } from '@livekit/components-react';
import { Track } from 'livekit-client';
import { useEffect, useReducer, useState } from 'react';
import { chooseFocus, initialLayout, nextLayout } from './layout';

export interface StageTile {
  id: string;
  isScreen: boolean;
  isLocal: boolean;
  track: TrackReferenceOrPlaceholder;
}

const SOURCES = [
  { source: Track.Source.Camera, withPlaceholder: true },
  { source: Track.Source.ScreenShare, withPlaceholder: false },
];

export function useStage() {
  const tiles = useTracks(SOURCES, { onlySubscribed: false }).map(toTile).filter(notMyScreen);
  const lastSpeaker = useLastSpeaker();
  const [layout, dispatch] = useReducer(nextLayout, initialLayout);

  const screenShared = tiles.some((tile) => tile.isScreen);
  useEffect(() => {
    if (!screenShared) return;
    dispatch({ type: 'screen-shared' });
    return () => dispatch({ type: 'screen-ended' });
  }, [screenShared]);

  return {
    tiles,
    mode: layout.mode,
    pinned: layout.pinned,
    focus: chooseFocus(tiles, layout.pinned, lastSpeaker),
    toggleLayout: () => dispatch({ type: 'toggled' }),
    togglePin: (id: string) => dispatch({ type: 'pin-toggled', id }),
  };
}

export type Stage = ReturnType<typeof useStage>;

function toTile(track: TrackReferenceOrPlaceholder): StageTile {
  const { participant, source } = track;
  return {
    id: `${participant.identity}/${source}`,
    isScreen: source === Track.Source.ScreenShare,
    isLocal: participant.isLocal,
    track,
  };
}

/** One's own screen, shown back, would be a hall of mirrors. */
const notMyScreen = (tile: StageTile) => !(tile.isScreen && tile.isLocal);

/** Stays with the last one who spoke, so that the large tile does not jump away in pauses. */
function useLastSpeaker(): string | null {
  const speaker = useSpeakingParticipants().find((participant) => !participant.isLocal);
  const [last, setLast] = useState<string | null>(null);
  useEffect(() => {
    if (speaker) setLast(`${speaker.identity}/${Track.Source.Camera}`);
  }, [speaker]);
  return last;
}
