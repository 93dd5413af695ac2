import { Mic, Video, Volume2, type LucideIcon } from 'lucide-react';
import { useState } from 'react';
import { t } from '../i18n';
import { canChooseSpeaker, deviceKindLabel, useDevices } from '../lib/devices';
import { loadPreferences, savePreferences } from '../lib/storage';
import type { DeviceState, Preview } from './preview';

interface DevicePickersProps {
  preview: Preview;
  devices: ReturnType<Preview['snapshot']>;
}

export function DevicePickers({ preview, devices: { audio, video } }: DevicePickersProps) {
  return (
    <fieldset className="pickers">
      <legend className="sr-only">{t('prejoin.devices')}</legend>
      <Picker kind="videoinput" icon={Video} epoch={video.step} inUse={deviceOf(video)} onPick={(id) => preview.select('video', id)} />
      <Picker kind="audioinput" icon={Mic} epoch={audio.step} inUse={deviceOf(audio)} onPick={(id) => preview.select('audio', id)} />
      {canChooseSpeaker && (
        <Picker kind="audiooutput" icon={Volume2} epoch={audio.step} onPick={(id) => savePreferences({ audiooutput: id })} />
      )}
    </fieldset>
  );
}

function deviceOf(state: DeviceState): string | undefined {
  return state.step === 'on' ? state.track.mediaStreamTrack.getSettings().deviceId : undefined;
}

interface PickerProps {
  kind: 'videoinput' | 'audioinput' | 'audiooutput';
  icon: LucideIcon;
  epoch: string;
  inUse?: string;
  onPick: (id: string) => void;
}

function Picker({ kind, icon: Icon, epoch, inUse, onPick }: PickerProps) {
  const devices = useDevices(kind, epoch);
  const [picked, setPicked] = useState(loadPreferences()[kind]);
  const known = (id?: string) => devices.some((device) => device.id === id);
  const value = [picked, inUse].find(known) ?? devices[0]?.id ?? '';
  return (
    <label className="picker">
      <Icon size={18} aria-hidden />
      <span className="sr-only">{t(deviceKindLabel[kind])}</span>
      <select
        value={value}
        disabled={devices.length === 0}
        onChange={(event) => {
          setPicked(event.target.value);
          onPick(event.target.value);
        }}
        data-testid={`${kind}-select`}
      >
        {devices.length === 0 && <option value="">{t(kind === 'audiooutput' ? 'device.default' : 'device.none')}</option>}
        {devices.map((device) => (
          <option key={device.id} value={device.id}>
            {device.label}
          </option>
        ))}
      </select>
    </label>
  );
}
