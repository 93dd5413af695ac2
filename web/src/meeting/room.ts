// From a token to a running room.
import {
  ConnectionError,
  ConnectionErrorReason,
  DisconnectReason,
  LogLevel,
  Room,
  setLogLevel,
  VideoPresets,
  type RoomOptions,
} from 'livekit-client';
import { explainProblem, problemOf, type MediaKind } from '../lib/devices';
import { loadPreferences, type CallSession } from '../lib/storage';
import type { Capture } from '../prejoin/preview';
import { showToast } from '../ui/toast-store';

setLogLevel(import.meta.env.DEV ? LogLevel.info : LogLevel.warn);

export function createRoom(): Room {
  const { audioinput, videoinput, audiooutput } = loadPreferences();
  const options: RoomOptions = {
    adaptiveStream: true,
    dynacast: true,
    audioCaptureDefaults: { deviceId: audioinput },
    videoCaptureDefaults: { deviceId: videoinput, resolution: VideoPresets.h720.resolution },
    audioOutput: { deviceId: audiooutput },
    publishDefaults: { videoCodec: 'vp8', simulcast: true, dtx: true, red: true },
  };
  return new Room(options);
}

/** Signalling is at the page's own origin. */
export function signalUrl(): string {
  return window.location.origin.replace(/^http/, 'ws');
}

/** Media on its way into the room; null where none is wanted. Settles, never fails: failures are told as toasts. */
export interface StartingMedia {
  microphone: Promise<unknown> | null;
  camera: Promise<unknown> | null;
}

/** Publishes in the background what the session has on: tracks from the preview if there are any, else fresh ones. */
export function publishMedia(room: Room, session: CallSession, { audio, video }: Capture): StartingMedia {
  const me = room.localParticipant;
  const report = (kind: MediaKind) => (error: unknown) => {
    if (room.state !== 'disconnected') showToast(explainProblem(problemOf(error), kind), 'problem');
  };
  const microphone = audio ? me.publishTrack(audio) : session.microphone ? me.setMicrophoneEnabled(true) : null;
  const camera = video ? me.publishTrack(video) : session.camera ? me.setCameraEnabled(true) : null;
  return {
    microphone: microphone?.catch(report('audio')) ?? null,
    camera: camera?.catch(report('video')) ?? null,
  };
}

export type EndReason = 'left' | 'removed' | 'closed' | 'duplicate' | 'lost';

export function endReasonOf(reason?: DisconnectReason): EndReason {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return 'left';
    case DisconnectReason.PARTICIPANT_REMOVED:
      return 'removed';
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return 'closed';
    case DisconnectReason.DUPLICATE_IDENTITY:
      return 'duplicate';
    default:
      return 'lost';
  }
}

export function tokenRefused(error: unknown): boolean {
  return error instanceof ConnectionError && error.reason === ConnectionErrorReason.NotAllowed;
}

export function serverUnreachable(error: unknown): boolean {
  const reasons = [ConnectionErrorReason.ServerUnreachable, ConnectionErrorReason.Timeout, ConnectionErrorReason.WebSocket];
  return error instanceof ConnectionError && reasons.includes(error.reason);
}
