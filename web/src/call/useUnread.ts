import type { ReceivedChatMessage } from '@livekit/components-react';
import { useEffect, useState } from 'react';

/** How many messages of others have come in since the chat was last open. */
export function useUnread(messages: ReceivedChatMessage[], open: boolean): number {
  const [seen, setSeen] = useState(0);
  useEffect(() => {
    if (open) setSeen(messages.length);
  }, [open, messages.length]);
  return open ? 0 : messages.slice(seen).filter((message) => !message.from?.isLocal).length;
}
