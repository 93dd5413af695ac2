import { useTrackToggle } from '@livekit/components-react';
import { Track } from 'livekit-client';
import { ChevronUp, Mic, MicOff, Video, VideoOff, type LucideIcon } from 'lucide-react';
import { useEffect, useState, type ReactNode } from 'react';
import { t, type MessageKey } from '../i18n';
import { canChooseSpeaker, explainProblem, problemOf, type MediaKind } from '../lib/devices';
import { IconButton } from '../ui/Button';
import { Popover } from '../ui/Popover';
import { showToast } from '../ui/toast-store';
import { DeviceChoice } from './DeviceChoice';

type Starting = Promise<unknown> | null;

export function MicToggle({ starting }: { starting: Starting }) {
  return (
    <MediaToggle
      source={Track.Source.Microphone}
      kind="audio"
      starting={starting}
      shortcut="d"
      icons={{ on: Mic, off: MicOff }}
      labels={{ turnOn: 'control.micOn', turnOff: 'control.micOff', menu: 'control.micMenu' }}
      testId="mic-toggle"
    >
      <DeviceChoice kind="audioinput" />
      {canChooseSpeaker && <DeviceChoice kind="audiooutput" />}
    </MediaToggle>
  );
}

export function CameraToggle({ starting }: { starting: Starting }) {
  return (
    <MediaToggle
      source={Track.Source.Camera}
      kind="video"
      starting={starting}
      shortcut="e"
      icons={{ on: Video, off: VideoOff }}
      labels={{ turnOn: 'control.cameraOn', turnOff: 'control.cameraOff', menu: 'control.cameraMenu' }}
      testId="camera-toggle"
    >
      <DeviceChoice kind="videoinput" />
    </MediaToggle>
  );
}

interface MediaToggleProps {
  source: Track.Source.Microphone | Track.Source.Camera;
  kind: MediaKind;
  starting: Starting;
  shortcut: string;
  icons: { on: LucideIcon; off: LucideIcon };
  labels: { turnOn: MessageKey; turnOff: MessageKey; menu: MessageKey };
  testId: string;
  children: ReactNode;
}

/** On/off, with the choice of device in a menu beside it. */
function MediaToggle({ source, kind, starting, shortcut, icons, labels, testId, children }: MediaToggleProps) {
  const [menuOpen, setMenuOpen] = useState(false);
  const { enabled, pending, toggle } = useTrackToggle({
    source,
    onDeviceError: (error) => showToast(explainProblem(problemOf(error), kind), 'problem'),
  });
  const isStarting = useUnsettled(starting);
  const press = () => {
    if (!isStarting) void toggle().catch(() => {}); // onDeviceError has told
  };
  useShortcut(shortcut, press);

  const Icon = enabled || isStarting ? icons.on : icons.off;
  const label = t(enabled ? labels.turnOff : labels.turnOn);
  return (
    <div className="media-toggle anchor">
      <IconButton
        look={enabled || isStarting ? 'raised' : 'off'}
        label={label}
        title={`${label} (${MODIFIER_NAME}+${shortcut.toUpperCase()})`}
        aria-keyshortcuts={`${IS_MAC ? 'Meta' : 'Control'}+${shortcut.toUpperCase()}`}
        aria-busy={pending || isStarting}
        onClick={press}
        data-testid={testId}
        data-enabled={enabled}
      >
        <Icon size={20} />
      </IconButton>
      <IconButton
        className="media-menu"
        look="quiet"
        label={t(labels.menu)}
        aria-haspopup="dialog"
        aria-expanded={menuOpen}
        onClick={() => setMenuOpen(!menuOpen)}
        data-testid={`${testId}-menu`}
      >
        <ChevronUp size={16} />
      </IconButton>
      {menuOpen && (
        <Popover label={t(labels.menu)} onClose={() => setMenuOpen(false)}>
          {children}
        </Popover>
      )}
    </div>
  );
}

/** True until the promise has settled: on entering, a microphone under way shall not look switched off. */
function useUnsettled(promise: Starting): boolean {
  const [unsettled, setUnsettled] = useState(promise !== null);
  useEffect(() => {
    void promise?.finally(() => setUnsettled(false));
  }, [promise]);
  return unsettled;
}

const IS_MAC = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.userAgent);
const MODIFIER_NAME = IS_MAC ? '⌘' : 'Ctrl';

/** Ctrl (⌘ on a Mac) with a letter, as in other meeting software. */
function useShortcut(letter: string, action: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const modifier = IS_MAC ? event.metaKey : event.ctrlKey;
      if (!modifier || event.shiftKey || event.altKey || event.key.toLowerCase() !== letter) return;
      event.preventDefault();
      if (!event.repeat) action();
    };
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  });
}
