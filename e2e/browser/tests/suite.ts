/** The whole browser suite in one process, so that all scenes share one server and two Chromiums. */
import { after } from "node:test";
import { endWorld } from "../helpers/world.ts";
import "./call.test.ts";
import "./reconnect.test.ts";
import "./layers.test.ts";
import "./codecs.test.ts";
import "./data.test.ts";
import "./permissions.test.ts";
import "./moderation.test.ts";
import "./meeting-page.test.ts";

after(endWorld);
