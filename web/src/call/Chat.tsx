import type { ReceivedChatMessage } from '@livekit/components-react';
import { SendHorizontal } from 'lucide-react';
import { useEffect, useRef, useState, type FormEvent, type KeyboardEvent } from 'react';
import { formatTime, t } from '../i18n';
import { IconButton } from '../ui/Button';
import { showToast } from '../ui/toast-store';
import { splitLinks } from './links';

interface ChatProps {
  messages: ReceivedChatMessage[];
  onSend: (text: string) => Promise<unknown>;
}

export function Chat({ messages, onSend }: ChatProps) {
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    list.current?.lastElementChild?.scrollIntoView({ block: 'end' });
  }, [messages.length]);
  return (
    <>
      {messages.length === 0 ? (
        <div className="chat-empty">
          <p>{t('chat.empty')}</p>
          <p className="muted">{t('chat.emptyHint')}</p>
        </div>
      ) : (
        <div className="chat-log" role="log" aria-label={t('chat.title')}>
          <ul ref={list}>
            {messages.map((message, index) => (
              <Message key={message.id ?? message.timestamp} message={message} follows={follows(messages[index - 1], message)} />
            ))}
          </ul>
        </div>
      )}
      <Composer onSend={onSend} />
    </>
  );
}

const SAME_BREATH_MS = 2 * 60_000;

/** Whether a message continues the one before, and needs no name of its own. */
function follows(previous: ReceivedChatMessage | undefined, message: ReceivedChatMessage): boolean {
  if (!previous || previous.from?.identity !== message.from?.identity) return false;
  return message.timestamp - previous.timestamp < SAME_BREATH_MS;
}

function Message({ message, follows }: { message: ReceivedChatMessage; follows: boolean }) {
  const { from } = message;
  return (
    <li className="chat-message" data-mine={from?.isLocal} data-follows={follows} data-testid="chat-message">
      {!follows && (
        <p className="chat-meta">
          <strong>{from?.isLocal ? t('chat.you') : from?.name || t('chat.someone')}</strong>
          <time dateTime={new Date(message.timestamp).toISOString()}>{formatTime(message.timestamp)}</time>
        </p>
      )}
      <p className="chat-text">
        {splitLinks(message.message).map((part, index) =>
          part.href ? (
            <a key={index} href={part.href} target="_blank" rel="noopener noreferrer nofollow">
              {part.text}
            </a>
          ) : (
            part.text
          ),
        )}
      </p>
    </li>
  );
}

/** LiveKit text streams have no such limit; people reading a chat do. */
const LONGEST_MESSAGE = 4000;

function Composer({ onSend }: { onSend: ChatProps['onSend'] }) {
  const [text, setText] = useState('');
  const form = useRef<HTMLFormElement>(null);

  const send = async (event: FormEvent) => {
    event.preventDefault();
    const message = text.trim();
    if (!message) return;
    setText('');
    try {
      await onSend(message);
    } catch {
      setText((typed) => typed || message);
      showToast(t('chat.failed'), 'problem');
    }
  };
  const sendOnEnter = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    form.current?.requestSubmit();
  };

  return (
    <form ref={form} className="composer" onSubmit={send}>
      <textarea
        rows={1}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={sendOnEnter}
        placeholder={t('chat.placeholder')}
        aria-label={t('chat.placeholder')}
        maxLength={LONGEST_MESSAGE}
        autoFocus
        data-testid="chat-input"
      />
      <IconButton look={text.trim() ? 'active' : 'quiet'} type="submit" label={t('chat.send')} data-testid="chat-send">
        <SendHorizontal size={20} />
      </IconButton>
    </form>
  );
}
