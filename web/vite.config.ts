import react from '@vitejs/plugin-react';
import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';
import { mockApi } from './dev/mock-api.ts';

export default defineConfig(({ mode }) => {
  const livekit = loadEnv(mode, import.meta.dirname).VITE_LIVEKIT_URL ?? 'ws://127.0.0.1:17880';
  const proxy = { '/rtc': { target: livekit, ws: true, changeOrigin: true } };
  return {
    plugins: [react(), mockApi()],
    server: { host: '127.0.0.1', proxy },
    preview: { host: '127.0.0.1', proxy },
    // The media libraries are one chunk of ~180 kB gzip that only the meeting page loads.
    test: { include: ['test/**/*.test.ts'] },
    build: { chunkSizeWarningLimit: 900, modulePreload: { polyfill: false } },
  };
});
