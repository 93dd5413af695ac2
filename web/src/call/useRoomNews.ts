// What happens in the room and deserves a word: people come and go, the connection returns, devices fail.
import { RoomEvent, Track, type LocalTrackPublication, type Participant, type Room, type TrackPublication } from 'livekit-client';
import { useEffect } from 'react';
import { t } from '../i18n';
import { savePreferences, updateCallSession } from '../lib/storage';
import { showToast } from '../ui/toast-store';

export function useRoomNews(room: Room): void {
  useEffect(() => {
    const nameOf = (participant: Participant) => participant.name || t('toast.guest');
    const joined = (participant: Participant) => showToast(t('toast.joined', { name: nameOf(participant) }));
    const left = (participant: Participant) => showToast(t('toast.left', { name: nameOf(participant) }));
    const reconnected = () => showToast(t('toast.reconnected'), 'good');

    const published = (publication: LocalTrackPublication) => remember(publication, true);
    const muted = (publication: TrackPublication, by: Participant) => by.isLocal && remember(publication, false);
    const unmuted = (publication: TrackPublication, by: Participant) => by.isLocal && remember(publication, true);

    room
      .on(RoomEvent.ParticipantConnected, joined)
      .on(RoomEvent.ParticipantDisconnected, left)
      .on(RoomEvent.Reconnected, reconnected)
      .on(RoomEvent.LocalTrackPublished, published)
      .on(RoomEvent.TrackMuted, muted)
      .on(RoomEvent.TrackUnmuted, unmuted);
    return () => {
      room
        .off(RoomEvent.ParticipantConnected, joined)
        .off(RoomEvent.ParticipantDisconnected, left)
        .off(RoomEvent.Reconnected, reconnected)
        .off(RoomEvent.LocalTrackPublished, published)
        .off(RoomEvent.TrackMuted, muted)
        .off(RoomEvent.TrackUnmuted, unmuted);
    };
  }, [room]);
}

/** A reload, a rejoin and the next meeting start with microphone and camera as they were last. */
function remember({ source }: TrackPublication, on: boolean): void {
  if (source !== Track.Source.Microphone && source !== Track.Source.Camera) return;
  const change = source === Track.Source.Microphone ? { microphone: on } : { camera: on };
  updateCallSession(change);
  savePreferences(change);
}
