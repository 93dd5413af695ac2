// Cameras, microphones and speakers: what there is, and why one could not be used.
import { MediaDeviceFailure, Room } from 'livekit-client';
import { useEffect, useState } from 'react';
import { t, type MessageKey } from '../i18n';

export type MediaKind = 'audio' | 'video';
export type DeviceProblem = 'denied' | 'missing' | 'busy' | 'insecure' | 'failed';

export const deviceKindLabel: Record<MediaDeviceKind, MessageKey> = {
  audioinput: 'device.microphone',
  videoinput: 'device.camera',
  audiooutput: 'device.speaker',
};

/** Browsers hide `mediaDevices` on plain http, except on localhost. */
export const mediaAllowedHere = typeof navigator !== 'undefined' && navigator.mediaDevices !== undefined;

export const canChooseSpeaker = typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype;

export function problemOf(error: unknown): DeviceProblem {
  if (!mediaAllowedHere) return 'insecure';
  if (error instanceof Error && error.name === 'OverconstrainedError') return 'missing';
  switch (MediaDeviceFailure.getFailure(error)) {
    case MediaDeviceFailure.PermissionDenied:
      return 'denied';
    case MediaDeviceFailure.NotFound:
      return 'missing';
    case MediaDeviceFailure.DeviceInUse:
      return 'busy';
    default:
      return 'failed';
  }
}

export function explainProblem(problem: DeviceProblem, kind: MediaKind): string {
  return t(`device.${problem}.${kind}`);
}

export interface Device {
  id: string;
  label: string;
}

/** The devices of one kind, kept up to date. `epoch` changes when permissions may have (labels appear then). */
export function useDevices(kind: MediaDeviceKind, epoch: unknown = 0): Device[] {
  const [devices, setDevices] = useState<Device[]>([]);
  useEffect(() => {
    if (!mediaAllowedHere) return;
    let current = true;
    const refresh = async () => {
      const found = await Room.getLocalDevices(kind, false).catch(() => []);
      if (current) setDevices(found.filter((device) => device.deviceId !== '').map(nameDevice));
    };
    void refresh();
    navigator.mediaDevices.addEventListener('devicechange', refresh);
    return () => {
      current = false;
      navigator.mediaDevices.removeEventListener('devicechange', refresh);
    };
  }, [kind, epoch]);
  return devices;
}

function nameDevice(device: MediaDeviceInfo, index: number): Device {
  const unnamed = () => t('device.unnamed', { kind: t(deviceKindLabel[device.kind]), number: index + 1 });
  return { id: device.deviceId, label: device.label || unnamed() };
}
