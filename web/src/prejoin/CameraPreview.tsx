import type { LocalVideoTrack } from 'livekit-client';
import { Mic, MicOff, Video, VideoOff } from 'lucide-react';
import { useEffect, useRef } from 'react';
import { t } from '../i18n';
import { explainProblem, type MediaKind } from '../lib/devices';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/Button';
import { MicMeter } from './MicMeter';
import type { DeviceState, Preview } from './preview';

interface CameraPreviewProps {
  preview: Preview;
  devices: ReturnType<Preview['snapshot']>;
  name: string;
}

/** What others will see, and whether they will hear it. */
export function CameraPreview({ preview, devices: { audio, video }, name }: CameraPreviewProps) {
  return (
    <section className="preview" aria-label={t('prejoin.preview')}>
      <div className="preview-frame">
        {video.step === 'on' ? (
          <MirroredVideo track={video.track} />
        ) : (
          <div className="preview-off">
            {name.trim() && <Avatar name={name} />}
            <p>{t(video.step === 'starting' ? 'prejoin.cameraStarting' : 'prejoin.cameraOff')}</p>
          </div>
        )}
        <div className="preview-controls">
          <Toggle kind="audio" state={audio} onToggle={() => preview.toggle('audio')} />
          <Toggle kind="video" state={video} onToggle={() => preview.toggle('video')} />
        </div>
        <MicMeter track={audio.step === 'on' ? audio.track : undefined} />
      </div>
      <Problem kind="audio" state={audio} />
      <Problem kind="video" state={video} />
    </section>
  );
}

function MirroredVideo({ track }: { track: LocalVideoTrack }) {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current;
    if (!video) return;
    track.attach(video);
    return () => void track.detach(video);
  }, [track]);
  return <video ref={element} className="preview-video" muted playsInline data-testid="camera-preview" />;
}

const TOGGLES = {
  audio: { On: Mic, Off: MicOff, turnOn: 'control.micOn', turnOff: 'control.micOff', testId: 'mic-toggle' },
  video: { On: Video, Off: VideoOff, turnOn: 'control.cameraOn', turnOff: 'control.cameraOff', testId: 'camera-toggle' },
} as const;

function Toggle({ kind, state, onToggle }: { kind: MediaKind; state: DeviceState; onToggle: () => void }) {
  const { On, Off, turnOn, turnOff, testId } = TOGGLES[kind];
  const on = state.step === 'on';
  const Icon = on || state.step === 'starting' ? On : Off;
  return (
    <IconButton
      className="preview-toggle"
      look={on || state.step === 'starting' ? 'raised' : 'danger'}
      label={t(on ? turnOff : turnOn)}
      onClick={onToggle}
      disabled={state.step === 'starting'}
      data-testid={testId}
      data-enabled={on}
    >
      <Icon size={22} />
    </IconButton>
  );
}

function Problem({ kind, state }: { kind: MediaKind; state: DeviceState }) {
  if (state.step !== 'failed') return null;
  return (
    <p className="preview-problem" role="alert" data-testid={`${kind}-problem`} data-problem={state.problem}>
      {kind === 'audio' ? <MicOff size={18} aria-hidden /> : <VideoOff size={18} aria-hidden />}
      <span>
        {explainProblem(state.problem, kind)} {t('prejoin.joinWithout')}
      </span>
    </p>
  );
}
