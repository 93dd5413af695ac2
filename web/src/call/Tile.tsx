import {
  isTrackReference,
  useIsMuted,
  useIsSpeaking,
  useParticipantInfo,
  VideoTrack,
  type TrackReferenceOrPlaceholder,
} from '@livekit/components-react';
import { Track } from 'livekit-client';
import { MicOff, Pin, PinOff, ScreenShare } from 'lucide-react';
import { t } from '../i18n';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/Button';
import { hueOf } from '../ui/initials';
import { QualityIcon } from './QualityIcon';

interface TileProps {
  track: TrackReferenceOrPlaceholder;
  pinned: boolean;
  /** Absent where there is nothing to choose between. */
  onPin?: () => void;
}

/** A person: camera or initials, name, microphone, connection, and a ring while speaking. */
export function ParticipantTile({ track, pinned, onPin }: TileProps) {
  const { participant } = track;
  const name = useDisplayName(track);
  const speaking = useIsSpeaking(participant);
  const micOff = useIsMuted({ participant, source: Track.Source.Microphone });
  const cameraOff = useIsMuted(track);
  const showVideo = isTrackReference(track) && !cameraOff;
  return (
    <article
      className="tile"
      aria-label={name}
      data-testid="participant-tile"
      data-identity={participant.identity}
      data-local={participant.isLocal}
      data-speaking={speaking && !micOff}
      data-video={showVideo}
    >
      {showVideo ? (
        <VideoTrack trackRef={track} className={participant.isLocal ? 'tile-video tile-mirrored' : 'tile-video'} />
      ) : (
        <div className="tile-avatar" style={{ '--hue': hueOf(participant.identity) }}>
          <Avatar name={participant.name ?? ''} seed={participant.identity} />
        </div>
      )}
      <p className="tile-label">
        {micOff && <MicOff className="tile-muted" size={15} role="img" aria-label={t('stage.micOff')} />}
        <span className="tile-name">{name}</span>
        <QualityIcon participant={participant} />
      </p>
      <PinButton name={name} pinned={pinned} onPin={onPin} />
    </article>
  );
}

export function ScreenTile({ track, pinned, onPin }: TileProps) {
  const label = t('stage.screenOf', { name: useDisplayName(track) });
  return (
    <article className="tile tile-screen" aria-label={label} data-testid="screenshare-tile" data-identity={track.participant.identity}>
      {isTrackReference(track) && <VideoTrack trackRef={track} className="tile-video" />}
      <p className="tile-label">
        <ScreenShare size={15} aria-hidden />
        <span className="tile-name">{label}</span>
      </p>
      <PinButton name={label} pinned={pinned} onPin={onPin} />
    </article>
  );
}

function useDisplayName({ participant }: TrackReferenceOrPlaceholder): string {
  const { name } = useParticipantInfo({ participant });
  const known = name || t('toast.guest');
  return participant.isLocal ? t('stage.you', { name: known }) : known;
}

function PinButton({ name, pinned, onPin }: { name: string; pinned: boolean; onPin?: () => void }) {
  if (!onPin) return null;
  return (
    <IconButton className="tile-pin" look="quiet" label={t(pinned ? 'stage.unpin' : 'stage.pin', { name })} aria-pressed={pinned} onClick={onPin}>
      {pinned ? <PinOff size={16} /> : <Pin size={16} />}
    </IconButton>
  );
}
