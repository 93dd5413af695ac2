import { useIsMuted, useIsSpeaking, useParticipantInfo, useParticipants } from '@livekit/components-react';
import { Track, type Participant } from 'livekit-client';
import { Mic, MicOff, ScreenShare, Video, VideoOff } from 'lucide-react';
import { t } from '../i18n';
import { Avatar } from '../ui/Avatar';
import { CopyLink } from '../ui/CopyLink';

export function People() {
  const participants = useParticipants();
  return (
    <>
      <ul className="people" aria-label={t('people.title')}>
        {participants.map((participant) => (
          <Person key={participant.identity} participant={participant} />
        ))}
      </ul>
      <div className="people-invite">
        <CopyLink />
      </div>
    </>
  );
}

function Person({ participant }: { participant: Participant }) {
  const { name } = useParticipantInfo({ participant });
  const micOff = useIsMuted({ participant, source: Track.Source.Microphone });
  const cameraOff = useIsMuted({ participant, source: Track.Source.Camera });
  const speaking = useIsSpeaking(participant);
  const shown = name || t('toast.guest');
  return (
    <li className="person" data-testid="participant-row" data-identity={participant.identity}>
      <Avatar name={shown} seed={participant.identity} />
      <span className="person-name">{participant.isLocal ? t('stage.you', { name: shown }) : shown}</span>
      {participant.isScreenShareEnabled && <ScreenShare size={18} role="img" aria-label={t('stage.presenting')} />}
      {micOff ? (
        <MicOff className="is-off" size={18} role="img" aria-label={t('stage.micOff')} />
      ) : (
        <Mic className={speaking ? 'is-speaking' : ''} size={18} role="img" aria-label={t('stage.micOn')} />
      )}
      {cameraOff ? (
        <VideoOff className="is-off" size={18} role="img" aria-label={t('stage.cameraOff')} />
      ) : (
        <Video size={18} role="img" aria-label={t('stage.cameraOn')} />
      )}
    </li>
  );
}
