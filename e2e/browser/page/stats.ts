/** Readings of getStats, cut down to what a test asserts on or a failure report needs. */
import type { LocalVideoTrack, RemoteTrack, Room } from "livekit-client";

export interface SentLayer {
  /** Simulcast rid; "" for a stream without one. */
  rid: string;
  /** False once the server asked for this layer to be paused (dynacast). */
  active: boolean;
  width: number;
  height: number;
  frames: number;
  codec: string;
  scalability: string;
}

export interface ReceivedStream {
  codec: string;
  packets: number;
  framesDecoded: number;
  width: number;
  height: number;
}

type Report = Record<string, any>;

async function reports(source: { getStats(): Promise<RTCStatsReport> } | undefined): Promise<Report[]> {
  return source ? [...(await source.getStats()).values()] : [];
}

function codecOf(all: Report[], stream: Report): string {
  return all.find((report) => report.id === stream.codecId)?.mimeType ?? "";
}

export async function sentLayers(track: LocalVideoTrack): Promise<SentLayer[]> {
  const senders = [track.sender, ...[...track.simulcastCodecs.values()].map((extra) => extra.sender)];
  const layers: SentLayer[] = [];
  for (const sender of senders) {
    const all = await reports(sender);
    const encodings = sender?.getParameters().encodings ?? [];
    for (const stream of all.filter((report) => report.type === "outbound-rtp")) {
      const rid = stream.rid ?? "";
      layers.push({
        rid,
        active: encodings.find((encoding) => (encoding.rid ?? "") === rid)?.active ?? stream.active,
        width: stream.frameWidth ?? 0,
        height: stream.frameHeight ?? 0,
        frames: stream.framesEncoded ?? 0,
        codec: codecOf(all, stream),
        scalability: stream.scalabilityMode ?? "",
      });
    }
  }
  return layers.sort((a, b) => a.width - b.width);
}

export async function receivedStream(track: RemoteTrack): Promise<ReceivedStream | null> {
  const all = await reports(track.receiver);
  const stream = all.find((report) => report.type === "inbound-rtp");
  if (!stream) return null;
  return {
    codec: codecOf(all, stream),
    packets: stream.packetsReceived ?? 0,
    framesDecoded: stream.framesDecoded ?? 0,
    width: stream.frameWidth ?? 0,
    height: stream.frameHeight ?? 0,
  };
}

const TOLD: Record<string, string[]> = {
  "outbound-rtp": [
    "kind",
    "mid",
    "rid",
    "active",
    "ssrc",
    "packetsSent",
    "framesEncoded",
    "keyFramesEncoded",
    "pliCount",
    "nackCount",
    "frameWidth",
    "qualityLimitationReason",
  ],
  "inbound-rtp": [
    "kind",
    "mid",
    "ssrc",
    "packetsReceived",
    "packetsLost",
    "framesDecoded",
    "keyFramesDecoded",
    "framesDropped",
    "pliCount",
    "nackCount",
    "freezeCount",
    "frameWidth",
    "totalAudioEnergy",
  ],
  "candidate-pair": ["state", "nominated", "currentRoundTripTime", "availableOutgoingBitrate", "bytesSent", "bytesReceived"],
  transport: ["iceState", "dtlsState", "selectedCandidatePairChanges"],
  "data-channel": ["label", "state", "messagesSent", "messagesReceived"],
};

/** One line per stream, pair, transport and data channel of every peer connection, for a failure report. */
export async function statsSummary(room: Room): Promise<string[]> {
  const manager = (room as any).engine?.pcManager;
  const lines: string[] = [];
  for (const side of ["publisher", "subscriber"]) {
    for (const report of await reports(manager?.[side])) {
      const told = TOLD[report.type];
      if (told)
        lines.push(
          [side, report.type, ...told.filter((key) => report[key] !== undefined).map((key) => `${key}=${report[key]}`)].join(" "),
        );
    }
  }
  return lines;
}

/** Which topology is in use: a dual-PC room has a subscriber connection beside the publisher's. */
export function peerConnections(room: Room): number {
  const manager = (room as any).engine?.pcManager;
  return [manager?.publisher, manager?.subscriber].filter(Boolean).length;
}
