// Camera and microphone before the call: a small store, so that tracks outlive renders and can be handed to the room.
import { createLocalTracks, LocalAudioTrack, LocalVideoTrack, type LocalTrack } from 'livekit-client';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { problemOf, type DeviceProblem, type MediaKind } from '../lib/devices';
import { loadPreferences, savePreferences } from '../lib/storage';

export type DeviceState<T extends LocalTrack = LocalTrack> =
  | { step: 'off' }
  | { step: 'starting' }
  | { step: 'on'; track: T }
  | { step: 'failed'; problem: DeviceProblem };

export interface Capture {
  audio?: LocalAudioTrack;
  video?: LocalVideoTrack;
}

interface Devices {
  audio: DeviceState<LocalAudioTrack>;
  video: DeviceState<LocalVideoTrack>;
}

const PREFERENCE = { audio: 'microphone', video: 'camera' } as const;
const DEVICE_KIND = { audio: 'audioinput', video: 'videoinput' } as const;

export class Preview {
  private devices: Devices = { audio: { step: 'off' }, video: { step: 'off' } };
  private listeners = new Set<() => void>();
  private live = false;

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  snapshot = () => this.devices;

  /** Starts what the visitor had on last time; one permission prompt for both. */
  async start(): Promise<void> {
    this.live = true;
    const { microphone, camera } = loadPreferences();
    if (microphone && camera) {
      this.set({ audio: { step: 'starting' }, video: { step: 'starting' } });
      try {
        return this.accept(await this.capture(['audio', 'video']));
      } catch {
        // One of the two failed: ask for each, to learn which.
      }
    }
    await Promise.all([microphone && this.turnOn('audio'), camera && this.turnOn('video')]);
  }

  toggle(kind: MediaKind): void {
    const turnOn = this.devices[kind].step !== 'on';
    savePreferences({ [PREFERENCE[kind]]: turnOn });
    if (turnOn) void this.turnOn(kind);
    else this.turnOff(kind);
  }

  async select(kind: MediaKind, deviceId: string): Promise<void> {
    savePreferences({ [DEVICE_KIND[kind]]: deviceId });
    if (this.devices[kind].step === 'off') return;
    this.turnOff(kind);
    await this.turnOn(kind);
  }

  /** Gives the running tracks away; the receiver must publish or stop them. */
  release(): Capture {
    this.live = false;
    const { audio, video } = this.devices;
    return {
      audio: audio.step === 'on' ? audio.track : undefined,
      video: video.step === 'on' ? video.track : undefined,
    };
  }

  stop(): void {
    if (!this.live) return;
    this.live = false;
    this.turnOff('audio');
    this.turnOff('video');
  }

  private async turnOn(kind: MediaKind): Promise<void> {
    this.set({ [kind]: { step: 'starting' } });
    try {
      this.accept(await this.capture([kind]));
    } catch (error) {
      this.set({ [kind]: { step: 'failed', problem: problemOf(error) } });
    }
  }

  private turnOff(kind: MediaKind): void {
    const device = this.devices[kind];
    if (device.step === 'on') device.track.stop();
    this.set({ [kind]: { step: 'off' } });
  }

  private capture(kinds: MediaKind[]): Promise<LocalTrack[]> {
    const { audioinput, videoinput } = loadPreferences();
    return createLocalTracks({
      audio: kinds.includes('audio') && { deviceId: audioinput },
      video: kinds.includes('video') && { deviceId: videoinput },
    });
  }

  private accept(tracks: LocalTrack[]): void {
    for (const track of tracks) {
      const stillWanted = this.live && this.devices[track.kind === 'audio' ? 'audio' : 'video'].step === 'starting';
      if (!stillWanted) track.stop();
      else if (track instanceof LocalAudioTrack) this.set({ audio: { step: 'on', track } });
      else if (track instanceof LocalVideoTrack) this.set({ video: { step: 'on', track } });
    }
  }

  private set(changes: Partial<Devices>): void {
    this.devices = { ...this.devices, ...changes };
    this.listeners.forEach((listener) => listener());
  }
}

/** The preview of this screen: runs while it is shown. */
export function usePreview(): [Preview, Devices] {
  const [preview] = useState(() => new Preview());
  useEffect(() => {
    void preview.start();
    return () => preview.stop();
  }, [preview]);
  return [preview, useSyncExternalStore(preview.subscribe, preview.snapshot)];
}
