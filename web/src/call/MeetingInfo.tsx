import { Settings } from 'lucide-react';
import { useState } from 'react';
import { t } from '../i18n';
import { canChooseSpeaker } from '../lib/devices';
import { IconButton } from '../ui/Button';
import { CopyLink } from '../ui/CopyLink';
import { ThemeToggle } from '../ui/Page';
import { Popover } from '../ui/Popover';
import { DeviceChoice } from './DeviceChoice';

/** Which meeting this is, how to invite to it, and its settings. */
export function MeetingInfo({ name }: { name: string }) {
  const [open, setOpen] = useState(false);
  return (
    <header className="meeting-info">
      <h1 title={name}>{name}</h1>
      <CopyLink compact />
      <div className="anchor">
        <IconButton look="quiet" label={t('control.settings')} aria-expanded={open} onClick={() => setOpen(!open)} data-testid="settings-toggle">
          <Settings size={18} />
        </IconButton>
        {open && (
          <Popover label={t('control.settings')} onClose={() => setOpen(false)}>
            <DeviceChoice kind="audioinput" />
            {canChooseSpeaker && <DeviceChoice kind="audiooutput" />}
            <DeviceChoice kind="videoinput" />
          </Popover>
        )}
      </div>
      <ThemeToggle />
    </header>
  );
}
