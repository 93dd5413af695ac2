import { useRoomContext } from '@livekit/components-react';
import { Check } from 'lucide-react';
import { useId, useState } from 'react';
import { t } from '../i18n';
import { deviceKindLabel, explainProblem, problemOf, useDevices } from '../lib/devices';
import { savePreferences } from '../lib/storage';
import { showToast } from '../ui/toast-store';

/** The devices of one kind as a radio group: arrow keys move, and what is chosen is used at once. */
export function DeviceChoice({ kind }: { kind: MediaDeviceKind }) {
  const room = useRoomContext();
  const devices = useDevices(kind);
  const [active, setActive] = useState(room.getActiveDevice(kind));
  const group = useId();
  const current = devices.some((device) => device.id === active) ? active : devices[0]?.id;

  const choose = async (id: string) => {
    const before = active;
    setActive(id);
    try {
      await room.switchActiveDevice(kind, id);
      savePreferences({ [kind]: id });
    } catch (error) {
      setActive(before);
      showToast(explainProblem(problemOf(error), kind === 'videoinput' ? 'video' : 'audio'), 'problem');
    }
  };

  return (
    <fieldset className="device-choice">
      <legend>{t(deviceKindLabel[kind])}</legend>
      {devices.length === 0 && <p className="muted">{t('device.none')}</p>}
      {devices.map((device) => (
        <label key={device.id}>
          <input type="radio" name={group} checked={device.id === current} onChange={() => void choose(device.id)} />
          <Check size={16} aria-hidden />
          <span>{device.label}</span>
        </label>
      ))}
    </fieldset>
  );
}
