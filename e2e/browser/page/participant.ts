/** One participant of a room, as the suite drives it: every public method takes and returns plain JSON. */
import {
  ConnectionError,
  ConnectionErrorReason,
  Room,
  RoomEvent,
  Track,
  type LocalVideoTrack,
  type RemoteTrack,
  type RoomConnectOptions,
  type RoomOptions,
  type SimulationScenario,
  type TrackPublishOptions,
} from "livekit-client";
import { Stage, type Picture, type Sound } from "./stage.ts";
import { peerConnections, receivedStream, sentLayers, statsSummary, type ReceivedStream, type SentLayer } from "./stats.ts";
import { transcript, type Heard } from "./wiretap.ts";

export type Source = `${Track.Source}`;

export interface Joining {
  url: string;
  token: string;
  room?: RoomOptions;
  connect?: RoomConnectOptions;
}

export interface Refusal {
  name: string;
  reason: string;
  status: number | undefined;
  message: string;
}

export interface Happening {
  event: string;
  about: string;
}

export interface Message {
  from: string;
  text: string;
  topic: string;
  kind: "reliable" | "lossy";
}

export interface Person {
  sid: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  speaking: boolean;
  quality: string;
  tracks: Record<string, { sid: string; muted: boolean; subscribed: boolean; status: string; mime: string }>;
}

/** The tone of the fake microphone must reach the encoder as it is. */
const UNPROCESSED = { noiseSuppression: false, echoCancellation: false, autoGainControl: false, voiceIsolation: false };

export class PageParticipant {
  room = new Room();
  #stage = new Stage(this.room);
  #happenings: Happening[] = [];
  #messages: Message[] = [];

  async join({ url, token, room, connect }: Joining): Promise<void> {
    this.#stage.clear();
    this.room = new Room(room);
    this.#stage = new Stage(this.room);
    this.#happenings = [];
    this.#messages = [];
    this.#watch();
    await this.room.connect(url, token, connect);
  }

  /** Joins expecting to be turned away; resolves to how the SDK classified the refusal. */
  async tryJoin(joining: Joining): Promise<Refusal | null> {
    try {
      await this.join(joining);
      return null;
    } catch (error) {
      const known = error instanceof ConnectionError ? error : undefined;
      return {
        name: (error as Error).name,
        reason: known ? ConnectionErrorReason[known.reason]! : "",
        status: known?.status as number | undefined,
        message: (error as Error).message,
      };
    }
  }

  async leave(): Promise<void> {
    await this.room.disconnect();
  }

  async camera(on: boolean, publish?: TrackPublishOptions, width = 640, height = 360, fps = 15): Promise<void> {
    const resolution = { width, height, frameRate: fps };
    await this.room.localParticipant.setCameraEnabled(on, { resolution }, publish);
  }

  async microphone(on: boolean): Promise<void> {
    await this.room.localParticipant.setMicrophoneEnabled(on, UNPROCESSED);
  }

  async screen(on: boolean): Promise<void> {
    await this.room.localParticipant.setScreenShareEnabled(on, { resolution: { width: 640, height: 360, frameRate: 5 } });
  }

  async unpublish(source: Source): Promise<void> {
    const track = this.#local(source)?.track;
    if (!track) throw new Error(`${source} is not published`);
    await this.room.localParticipant.unpublishTrack(track);
  }

  /** Publishes and reports the SDK's error message, or "" when it was allowed. */
  async tryCamera(): Promise<string> {
    return this.camera(true).then(
      () => "",
      (error: Error) => error.message,
    );
  }

  async say(text: string, options: { reliable: boolean; topic?: string; destinationIdentities?: string[] }): Promise<void> {
    await this.room.localParticipant.publishData(new TextEncoder().encode(text), options);
  }

  async describeMyself(change: { name?: string; metadata?: string; attributes?: Record<string, string> }): Promise<string> {
    const me = this.room.localParticipant;
    try {
      if (change.name !== undefined) await me.setName(change.name);
      if (change.metadata !== undefined) await me.setMetadata(change.metadata);
      if (change.attributes !== undefined) await me.setAttributes(change.attributes);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  }

  allowSubscribers(everyone: boolean, only: string[] = []): void {
    const allowed = only.map((participantIdentity) => ({ participantIdentity, allowAll: true }));
    this.room.localParticipant.setTrackSubscriptionPermissions(everyone, allowed);
  }

  subscribe(identity: string, source: Source, wanted: boolean): void {
    const publication = this.room.remoteParticipants.get(identity)?.getTrackPublication(source as Track.Source);
    if (!publication) throw new Error(`${identity} publishes no ${source}`);
    publication.setSubscribed(wanted);
  }

  async scenario(name: SimulationScenario, argument?: number): Promise<void> {
    await this.room.simulateScenario(name, argument);
  }

  resize(identity: string, width: number, height: number): void {
    this.#stage.resize(identity, Track.Source.Camera, width, height);
  }

  picture(identity: string, source: Source = "camera"): Picture | null {
    return this.#stage.picture(identity, source as Track.Source);
  }

  longestGap(identity: string, since_ms: number, to_ms: number): number {
    return this.#stage.longestGap(identity, since_ms, to_ms);
  }

  sound(identity: string): Promise<Sound | null> {
    return this.#stage.sound(identity);
  }

  async sent(): Promise<SentLayer[]> {
    const track = this.#local("camera")?.track;
    return track ? sentLayers(track as LocalVideoTrack) : [];
  }

  async received(identity: string, source: Source = "camera"): Promise<ReceivedStream | null> {
    const track = this.room.remoteParticipants.get(identity)?.getTrackPublication(source as Track.Source)?.track;
    return track ? receivedStream(track as RemoteTrack) : null;
  }

  me(): Person & { identity: string; state: string; peerConnections: number; canPublish: boolean } {
    const local = this.room.localParticipant;
    return {
      ...describe(local),
      identity: local.identity,
      state: this.room.state,
      peerConnections: peerConnections(this.room),
      canPublish: local.permissions?.canPublish ?? false,
    };
  }

  people(): Record<string, Person> {
    return Object.fromEntries([...this.room.remoteParticipants].map(([identity, person]) => [identity, describe(person)]));
  }

  roomMetadata(): string {
    return this.room.metadata ?? "";
  }

  happenings(): Happening[] {
    return this.#happenings;
  }

  forgetHappenings(): void {
    this.#happenings = [];
  }

  messages(): Message[] {
    return this.#messages;
  }

  transcript(): Heard[] {
    return transcript();
  }

  stats(): Promise<string[]> {
    return statsSummary(this.room);
  }

  /** Codecs, in lower case, this browser build can encode. */
  encoders(): string[] {
    const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    return [...new Set(codecs.map((codec) => codec.mimeType.toLowerCase().replace("video/", "")))];
  }

  #local(source: Source) {
    return this.room.localParticipant.getTrackPublication(source as Track.Source);
  }

  #watch(): void {
    const room = this.room;
    room.on(RoomEvent.TrackSubscribed, (track) => this.#stage.show(track));
    room.on(RoomEvent.TrackUnsubscribed, (track) => this.#stage.hide(track));
    room.on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
      this.#messages.push({
        from: from?.identity ?? "",
        text: new TextDecoder().decode(payload),
        topic: topic ?? "",
        kind: kind === 1 ? "lossy" : "reliable",
      });
    });
    const told: Array<[RoomEvent, (...details: any[]) => string]> = [
      [RoomEvent.Reconnecting, () => ""],
      [RoomEvent.SignalReconnecting, () => ""],
      [RoomEvent.Reconnected, () => ""],
      [RoomEvent.Disconnected, (reason) => String(reason)],
      [RoomEvent.ParticipantConnected, (person) => person.identity],
      [RoomEvent.ParticipantDisconnected, (person) => person.identity],
      [RoomEvent.TrackPublished, (publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.TrackUnpublished, (publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.TrackSubscribed, (_track, publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.TrackUnsubscribed, (_track, publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.TrackMuted, (publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.TrackUnmuted, (publication, person) => `${person.identity} ${publication.source}`],
      [RoomEvent.LocalTrackSubscribed, (publication) => publication.source],
      [RoomEvent.ActiveSpeakersChanged, (speakers) => speakers.map((person: { identity: string }) => person.identity).join(",")],
      [
        RoomEvent.TrackSubscriptionPermissionChanged,
        (publication, status, person) => `${person.identity} ${publication.source} ${status}`,
      ],
      [RoomEvent.ParticipantPermissionsChanged, (_before, person) => person.identity],
    ];
    for (const [event, about] of told) {
      room.on(event as any, (...details: unknown[]) => this.#happenings.push({ event, about: about(...details) }));
    }
  }
}

function describe(person: Room["localParticipant"] | import("livekit-client").RemoteParticipant): Person {
  const tracks: Person["tracks"] = {};
  for (const publication of person.trackPublications.values()) {
    tracks[publication.source] = {
      sid: publication.trackSid,
      muted: publication.isMuted,
      subscribed: publication.isSubscribed,
      status: "subscriptionStatus" in publication ? String(publication.subscriptionStatus) : "",
      mime: publication.mimeType ?? "",
    };
  }
  return {
    sid: person.sid,
    name: person.name ?? "",
    metadata: person.metadata ?? "",
    attributes: { ...person.attributes },
    speaking: person.isSpeaking,
    quality: person.connectionQuality,
    tracks,
  };
}
