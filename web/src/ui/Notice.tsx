import type { LucideIcon } from 'lucide-react';
import { useEffect, useRef, type ReactNode } from 'react';
import { Page } from './Page';

interface NoticeProps {
  icon: LucideIcon;
  title: string;
  text: string;
  tone?: 'calm' | 'problem';
  testId: string;
  children?: ReactNode;
}

/** A full screen that says one thing and what can be done about it. */
export function Notice({ icon: Icon, title, text, tone = 'calm', testId, children }: NoticeProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []); // so that screen readers say what happened
  return (
    <Page>
      <section className="notice" data-testid={testId}>
        <span className="notice-icon" data-tone={tone}>
          <Icon size={28} aria-hidden />
        </span>
        <h1 ref={heading} tabIndex={-1} style={{ outline: 'none' }}>
          {title}
        </h1>
        <p className="muted">{text}</p>
        <div className="notice-actions">{children}</div>
      </section>
    </Page>
  );
}

export function Waiting({ text }: { text: string }) {
  return (
    <Page>
      <p className="waiting" role="status">
        <span className="spinner" aria-hidden />
        {text}
      </p>
    </Page>
  );
}
