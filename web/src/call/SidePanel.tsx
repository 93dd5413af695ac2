import { X } from 'lucide-react';
import type { KeyboardEvent, ReactNode } from 'react';
import { t } from '../i18n';
import { IconButton } from '../ui/Button';
import './panel.css';

interface SidePanelProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** Beside the stage on wide screens, over it on phones. Escape closes it. */
export function SidePanel({ title, onClose, children }: SidePanelProps) {
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Escape') onClose();
  };
  return (
    <aside className="panel" aria-label={title} onKeyDown={onKeyDown}>
      <header className="panel-header">
        <h2>{title}</h2>
        <IconButton look="quiet" label={t('control.close')} onClick={onClose}>
          <X size={20} />
        </IconButton>
      </header>
      {children}
    </aside>
  );
}
