/** Where remote tracks are shown and heard: one element per track, and the means to measure what comes out of it. */
import { Track, type RemoteTrack, type Room } from "livekit-client";

export interface Picture {
  /** Frames the decoder has delivered to this element since it was attached. */
  frames: number;
  width: number;
  height: number;
  /** Brightness of an 8 x 6 grid of the current picture: two pictures are compared by it. */
  grid: number[];
}

export interface Sound {
  /** Loudest sample, 0 to 1, in the analyser's window (about 85 ms) just now. */
  peak: number;
  /** The strongest frequency in that window. */
  tone_hz: number;
  /** Total energy decoded so far (inbound-rtp totalAudioEnergy). */
  energy: number;
}

const GRID = { columns: 8, rows: 6 };
/** At 48 kHz: bins of 12 Hz, a window of 85 ms. */
const FFT_SIZE = 4096;

/** Not among TypeScript's own types: only Chromium has it on pages. */
declare class MediaStreamTrackProcessor {
  constructor(source: { track: MediaStreamTrack });
  readonly readable: ReadableStream<VideoFrame>;
}

export class Stage {
  readonly #seats = new Map<RemoteTrack, HTMLMediaElement>();
  /** When each picture of a participant's camera was decoded, in milliseconds of Unix time. */
  readonly #arrivals = new Map<string, number[]>();
  readonly #analysers = new Map<RemoteTrack, AnalyserNode>();
  readonly #canvas = new OffscreenCanvas(GRID.columns, GRID.rows);
  #audio: AudioContext | undefined;

  constructor(private readonly room: Room) {}

  show(track: RemoteTrack): void {
    const element = track.attach();
    element.style.width = "320px";
    element.style.height = "180px";
    document.body.append(element);
    this.#seats.set(track, element);
    if (track.source === Track.Source.Camera) void this.#note(track);
  }

  /** The longest time without a new picture of `identity` in a span of Unix time, its ends included. */
  longestGap(identity: string, since_ms: number, to_ms: number): number {
    const within = (this.#arrivals.get(identity) ?? []).filter((at) => at >= since_ms && at <= to_ms);
    const times = [since_ms, ...within, to_ms];
    return Math.max(...times.slice(1).map((at, index) => at - times[index]!));
  }

  /** Reads what the decoder yields: elements show nothing where nobody would see them. */
  async #note(track: RemoteTrack): Promise<void> {
    const identity = [...this.room.remoteParticipants.values()].find((person) =>
      [...person.trackPublications.values()].some((publication) => publication.track === track),
    )?.identity;
    if (identity === undefined) return;
    const arrivals = this.#arrivals.get(identity) ?? [];
    this.#arrivals.set(identity, arrivals);
    const frames = new MediaStreamTrackProcessor({ track: track.mediaStreamTrack.clone() }).readable.getReader();
    for (let next = await frames.read(); !next.done; next = await frames.read()) {
      arrivals.push(Date.now());
      next.value.close();
      if (!this.#seats.has(track)) return frames.cancel();
    }
  }

  hide(track: RemoteTrack): void {
    for (const element of track.detach()) element.remove();
    this.#seats.delete(track);
    this.#analysers.delete(track);
  }

  clear(): void {
    for (const track of [...this.#seats.keys()]) this.hide(track);
    void this.#audio?.close();
    this.#audio = undefined;
  }

  /** Resizes the element that shows a video; an adaptive-stream room asks for a layer that fits. */
  resize(identity: string, source: Track.Source, width: number, height: number): void {
    const element = this.#element(identity, source);
    if (!element) throw new Error(`no ${source} of ${identity} is shown`);
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
  }

  picture(identity: string, source: Track.Source): Picture | null {
    const video = this.#element(identity, source);
    if (!(video instanceof HTMLVideoElement) || video.videoWidth === 0) return null;
    const context = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    context.drawImage(video, 0, 0, GRID.columns, GRID.rows);
    const { data } = context.getImageData(0, 0, GRID.columns, GRID.rows);
    const grid = Array.from({ length: GRID.columns * GRID.rows }, (_, cell) => data[cell * 4 + 1]!);
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    return { frames, width: video.videoWidth, height: video.videoHeight, grid };
  }

  async sound(identity: string): Promise<Sound | null> {
    const track = this.#track(identity, Track.Source.Microphone);
    if (!track) return null;
    const analyser = this.#analysers.get(track) ?? this.#listen(track);
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    const peak = samples.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0);
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    const strongest = spectrum.reduce((best, level, bin) => (level > spectrum[best]! ? bin : best), 0);
    const tone_hz = (strongest * analyser.context.sampleRate) / analyser.fftSize;
    let energy = 0;
    for (const report of (await track.receiver?.getStats())?.values() ?? []) {
      if (report.type === "inbound-rtp") energy = report.totalAudioEnergy ?? 0;
    }
    return { peak, tone_hz, energy };
  }

  #listen(track: RemoteTrack): AnalyserNode {
    this.#audio ??= new AudioContext();
    const analyser = new AnalyserNode(this.#audio, { fftSize: FFT_SIZE });
    this.#audio.createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
    this.#analysers.set(track, analyser);
    return analyser;
  }

  #track(identity: string, source: Track.Source): RemoteTrack | undefined {
    return this.room.getParticipantByIdentity(identity)?.getTrackPublication(source)?.track as RemoteTrack | undefined;
  }

  #element(identity: string, source: Track.Source): HTMLMediaElement | undefined {
    const track = this.#track(identity, source);
    return track && this.#seats.get(track);
  }
}
