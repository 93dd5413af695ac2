import { useParticipants, useTrackToggle } from '@livekit/components-react';
import { Track } from 'livekit-client';
import { LayoutGrid, MessageSquare, PhoneOff, ScreenShare, ScreenShareOff, SquareUser, Users } from 'lucide-react';
import { useState } from 'react';
import { t, tCount } from '../i18n';
import { IconButton } from '../ui/Button';
import { showToast } from '../ui/toast-store';
import type { StartingMedia } from '../meeting/room';
import type { PanelName } from './Call';
import type { LayoutMode } from './layout';
import { CameraToggle, MicToggle } from './MediaToggle';

interface ControlBarProps {
  starting: StartingMedia;
  panel: PanelName | null;
  onPanel: (panel: PanelName) => void;
  unread: number;
  mode: LayoutMode;
  onLayout: () => void;
  onLeave: () => void;
}

export function ControlBar({ starting, panel, onPanel, unread, mode, onLayout, onLeave }: ControlBarProps) {
  const people = useParticipants().length;
  return (
    <div className="bar">
      <div className="controls" role="group" aria-label={t('control.bar')}>
        <MicToggle starting={starting.microphone} />
        <CameraToggle starting={starting.camera} />
        <ScreenShareToggle />
        <LeaveButton onLeave={onLeave} />
      </div>
      <div className="side-controls">
        <IconButton
          label={t(mode === 'grid' ? 'control.layoutSpeaker' : 'control.layoutGrid')}
          onClick={onLayout}
          data-testid="layout-toggle"
          data-layout={mode}
        >
          {mode === 'grid' ? <SquareUser size={20} /> : <LayoutGrid size={20} />}
        </IconButton>
        <IconButton
          look={panel === 'people' ? 'active' : 'raised'}
          label={t(panel === 'people' ? 'control.peopleClose' : 'control.peopleOpen')}
          aria-expanded={panel === 'people'}
          onClick={() => onPanel('people')}
          data-testid="participants-toggle"
        >
          <Users size={20} />
          <span className="count" aria-hidden>
            {people}
          </span>
        </IconButton>
        <IconButton
          look={panel === 'chat' ? 'active' : 'raised'}
          label={chatLabel(panel === 'chat', unread)}
          aria-expanded={panel === 'chat'}
          onClick={() => onPanel('chat')}
          data-testid="chat-toggle"
        >
          <MessageSquare size={20} />
          {unread > 0 && (
            <span className="badge" data-testid="unread-badge" aria-hidden>
              {unread > 9 ? '9+' : unread}
            </span>
          )}
        </IconButton>
      </div>
    </div>
  );
}

function chatLabel(open: boolean, unread: number): string {
  if (open) return t('control.chatClose');
  return unread > 0 ? `${t('control.chatOpen')}, ${tCount('control.unread', unread)}` : t('control.chatOpen');
}

const CAN_SHARE_SCREEN = typeof navigator !== 'undefined' && 'getDisplayMedia' in (navigator.mediaDevices ?? {});
const CAPTURE = { audio: true, selfBrowserSurface: 'exclude', contentHint: 'detail' } as const;

function ScreenShareToggle() {
  const [supported] = useState(CAN_SHARE_SCREEN);
  const { enabled, pending, toggle } = useTrackToggle({
    source: Track.Source.ScreenShare,
    captureOptions: CAPTURE,
    onDeviceError: (error) => {
      // Closing the browser's picker is a choice, not a fault.
      if (error.name !== 'NotAllowedError') showToast(t('device.failed.screen'), 'problem');
    },
  });
  if (!supported) return null;
  return (
    <IconButton
      look={enabled ? 'active' : 'raised'}
      label={t(enabled ? 'control.shareStop' : 'control.shareStart')}
      disabled={pending}
      onClick={() => void toggle().catch(() => {})}
      data-testid="screenshare-toggle"
      data-enabled={enabled}
    >
      {enabled ? <ScreenShareOff size={20} /> : <ScreenShare size={20} />}
    </IconButton>
  );
}

function LeaveButton({ onLeave }: { onLeave: () => void }) {
  return (
    <IconButton className="leave" look="danger" label={t('control.leave')} onClick={onLeave} data-testid="leave-button">
      <PhoneOff size={20} />
    </IconButton>
  );
}
