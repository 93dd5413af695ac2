import { RoomAudioRenderer, RoomContext, useChat, useConnectionState } from '@livekit/components-react';
import { ConnectionState, type Room } from 'livekit-client';
import { useState } from 'react';
import { t } from '../i18n';
import type { StartingMedia } from '../meeting/room';
import { Toasts } from '../ui/Toasts';
import { Chat } from './Chat';
import { ControlBar } from './ControlBar';
import { EnableAudio } from './EnableAudio';
import { MeetingInfo } from './MeetingInfo';
import { People } from './People';
import { SidePanel } from './SidePanel';
import { Stage } from './Stage';
import { useRoomNews } from './useRoomNews';
import { useStage } from './useStage';
import { useUnread } from './useUnread';
import { useWakeLock } from './useWakeLock';
import './call.css';

export type PanelName = 'chat' | 'people';

interface CallProps {
  room: Room;
  starting: StartingMedia;
  name: string;
  onLeave: () => void;
}

export function Call(props: CallProps) {
  return (
    <RoomContext.Provider value={props.room}>
      <CallScreen {...props} />
      <RoomAudioRenderer />
    </RoomContext.Provider>
  );
}

function CallScreen({ room, starting, name, onLeave }: CallProps) {
  const [panel, setPanel] = useState<PanelName | null>(null);
  const stage = useStage();
  const { chatMessages, send } = useChat();
  const unread = useUnread(chatMessages, panel === 'chat');
  useRoomNews(room);
  useWakeLock();

  return (
    <div className="call">
      <ReconnectingBanner />
      <div className="call-body">
        <Stage stage={stage} />
        {panel === 'chat' && (
          <SidePanel title={t('chat.title')} onClose={() => setPanel(null)}>
            <Chat messages={chatMessages} onSend={send} />
          </SidePanel>
        )}
        {panel === 'people' && (
          <SidePanel title={t('people.title')} onClose={() => setPanel(null)}>
            <People />
          </SidePanel>
        )}
      </div>
      <MeetingInfo name={name} />
      <ControlBar
        starting={starting}
        panel={panel}
        onPanel={(wanted) => setPanel(panel === wanted ? null : wanted)}
        unread={unread}
        mode={stage.mode}
        onLayout={stage.toggleLayout}
        onLeave={onLeave}
      />
      <EnableAudio />
      <Toasts />
    </div>
  );
}

function ReconnectingBanner() {
  const state = useConnectionState();
  const reconnecting = state === ConnectionState.Reconnecting || state === ConnectionState.SignalReconnecting;
  return (
    <div role="alert">
      {reconnecting && (
        <p className="banner" data-testid="reconnecting-banner">
          <span className="spinner" aria-hidden />
          {t('banner.reconnecting')}
        </p>
      )}
    </div>
  );
}
