import { useEffect, useRef, type ReactNode } from 'react';
import './popover.css';

interface PopoverProps {
  label: string;
  onClose: () => void;
  children: ReactNode;
}

/** A small panel above the button that opened it. Escape, or a press elsewhere, closes it and focus goes back. */
export function Popover({ label, onClose, children }: PopoverProps) {
  const panel = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  close.current = onClose;

  useEffect(() => {
    const opener = document.activeElement as HTMLElement | null;
    const first = panel.current?.querySelector<HTMLElement>('input:checked, input, button, select');
    (first ?? panel.current)?.focus();

    const onPointerDown = (event: PointerEvent) => {
      const holder = panel.current?.parentElement; // the opener is inside: its own click will toggle
      if (!holder?.contains(event.target as Node)) close.current();
    };
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      close.current();
      opener?.focus();
    };
    document.addEventListener('pointerdown', onPointerDown);
    document.addEventListener('keydown', onKeyDown, true);
    return () => {
      document.removeEventListener('pointerdown', onPointerDown);
      document.removeEventListener('keydown', onKeyDown, true);
    };
  }, []);

  return (
    <div ref={panel} className="popover" role="dialog" aria-label={label} tabIndex={-1}>
      {children}
    </div>
  );
}
