// Types of the client. The doc comments of src/ say what each does; here stands what a caller must know to use it.

export const ConfrType: { readonly COMMUNICATION: 10; readonly COMMUNICATION_MIX: 11; readonly LIVE: 12 };
export const Role: { readonly ADMIN: 7; readonly TALKER: 3; readonly AUDIENCE: 1 };
export const ExitReason: {
  readonly NORMAL: 0;
  readonly NO_ANSWER: 1;
  readonly FAILED: 4;
  readonly OTHER_DEVICE: 10;
  readonly CLOSED: 11;
  readonly KICKED: 12;
};
export const StreamType: { readonly CAMERA: 0; readonly DESKTOP: 1 };

export type ConfrTypeNumber = 10 | 11 | 12;
export type RoleNumber = 7 | 3 | 1;
export type AppData = Record<string, unknown>;

export interface Member {
  id: string;
  /** The user's name; kick, roles and mute name members by it. */
  name: string;
  nickName: string | null;
  /** `<appId>#<name>` */
  globalName: string;
  role: RoleNumber;
  ext: AppData;
  /** What an ADMIN or the app holds back. */
  muted: { audio: boolean; video: boolean };
  joinedAt: string;
}

export interface Stream {
  /** `<rtcId>__Of_<memId>` */
  id: string;
  rtcId: string;
  memId: string;
  owner: Member | null;
  type: 0 | 1;
  /** 1: nobody sees pictures of it. */
  voff: 0 | 1;
  /** 1: nobody hears it. */
  aoff: 0 | 1;
  live: boolean;
  video: { codec: string; width?: number; height?: number } | null;
  audio: { codec: string; sampleRate?: number; channels?: number } | null;
}

export interface Limits {
  maxTalkerCount: number;
  maxVideoCount: number;
  maxAudienceCount: number;
  maxPubDesktopCount: number;
}

export interface ConferenceInfo {
  confrId: string;
  id: string;
  type: ConfrTypeNumber;
  roomName: string | null;
  groupId?: string;
  roomType?: 'voice' | 'video';
  rec: boolean;
  recMerge: boolean;
  recording: string;
  supportWechatMiniProgram: boolean;
  limits: Limits;
  memDefaultRole: RoleNumber;
  metadata: AppData;
  createdAt: string;
  seq: number;
  members: Member[];
  audienceCount: number;
  streams: Stream[];
}

export interface CreatedConference extends ConferenceInfo {
  password: string;
  /** An ADMIN ticket for the creator. */
  ticket: string;
}

export interface ConferenceSettings {
  confrType?: ConfrTypeNumber;
  /** Absent: one is made and told in the answer. Empty: none. */
  password?: string;
  rec?: boolean;
  recMerge?: boolean;
  limits?: Partial<Limits>;
  memDefaultRole?: RoleNumber;
  metadata?: AppData;
  supportWechatMiniProgram?: boolean;
}

/** A "no", from the gateway or from the way to it. `reason` is the stable word to decide by. */
export class TidegateError extends Error {
  constructor(reason: string, message?: string, details?: { code?: number; status?: number; retryAfterMs?: number | null; requestId?: string });
  /** The gateway's word, or one of the client: `network`, `timeout`, `aborted`, `not_joined`, `invalid_request`, `invalid_answer`. */
  reason: string;
  /** The number that emedia clients know. */
  code: number;
  /** The HTTP status; 0 where nothing answered. */
  status: number;
  retryAfterMs: number | null;
  requestId: string | null;
  /** The same again, later, may work. */
  readonly isPassing: boolean;
}

/** What the client needs of where it runs; made by `wxPlatform` or `webPlatform`. */
export interface Platform {
  readonly name: string;
  readonly client: string;
}

/** WeChat's `wx`. All that is made for one `wx` share its ten requests and five sockets. */
export function wxPlatform(wx: object): Platform;
/** A browser, or node with `webPlatform({ WebSocket: require('ws') })`. */
export function webPlatform(options?: { fetch?: unknown; WebSocket?: unknown; window?: unknown }): Platform;
/** WeChat's where there is a `wx`, else the browser's or node's. */
export function defaultPlatform(): Platform;

export interface ClientOptions {
  /** The address of the gateway, `https://…`. */
  apiURL: string;
  /** The user token that the app's backend signs. */
  token?: string;
  /** Asked for the first token, and again when the gateway no longer takes the last one. */
  getToken?: () => Promise<string>;
  platform?: Platform;
  /** How long without the gateway until the call is over; two minutes. */
  giveUpMs?: number;
}

interface OwnData {
  nickName?: string;
  ext?: AppData;
}

export interface RoomConfig extends OwnData, Partial<Limits> {
  rec?: boolean;
  recMerge?: boolean;
  confrType?: ConfrTypeNumber;
  memDefaultRole?: RoleNumber;
  supportWechatMiniProgram?: boolean;
}

/** Where to go in. */
export type JoinTarget =
  | (OwnData & { confrId: string; ticket: string; getTicket?: (confrId: string) => Promise<string> })
  | (OwnData & { confrId: string; getTicket: (confrId: string) => Promise<string> })
  | (OwnData & { confrId: string; password?: string })
  | { roomName: string; password?: string; role?: RoleNumber; config?: RoomConfig };

export interface Joined {
  confr: ConferenceInfo;
  member: Member;
  roleToken: string;
  eventsUrl: string;
  isCreator?: boolean;
}

export type CallState = 'idle' | 'joining' | 'joined' | 'reconnecting' | 'rejoining' | 'left';

/** Events by their names. In `for await` loops each has its name as `type`. */
export interface ConferenceEvents {
  stateChanged: { state: CallState };
  memberJoined: { member: Member };
  memberExited: { member: Member; reason: number };
  memberChanged: { member: Member; isSelf: boolean };
  roleChanged: { member: Member; role: RoleNumber; isSelf: boolean; roleToken: string | null };
  /** Media flows. */
  streamAdded: { stream: Stream; member: Member };
  streamRemoved: { stream: Stream; member: Member; reason: string | null };
  /** `refused`: `videos_full` where the own pictures found no place. */
  mediaChanged: { stream: Stream; member: Member; refused: string | null };
  conferenceChanged: { conference: ConferenceInfo };
  message: { from: Member | null; body: unknown; to?: string[] };
  serverDraining: { deadlineMs: number };
  serverResumed: Record<string, never>;
  /** The gateway had given this member up, and it is inside again, as a new member. */
  rejoined: { member: Member };
  left: { reason: number; failed: number | null };
}

export type ConferenceEvent = { [Name in keyof ConferenceEvents]: ConferenceEvents[Name] & { type: Name } }[keyof ConferenceEvents];

declare class Events<Map> {
  /** The answer takes the handler back. */
  on<Name extends keyof Map>(name: Name, handler: (event: Map[Name]) => void): () => void;
  once<Name extends keyof Map>(name: Name, handler: (event: Map[Name]) => void): () => void;
  off<Name extends keyof Map>(name: Name, handler?: (event: Map[Name]) => void): void;
}

/** One call: from the join to the end. A new call is a new Conference. */
export class Conference extends Events<ConferenceEvents> {
  constructor(options: ClientOptions);
  /** Makes a conference. Nobody is inside yet; without a first member it ends after two minutes. */
  static create(options: ClientOptions, settings?: ConferenceSettings): Promise<CreatedConference>;
  /** A ticket for the own user, by the password. */
  static requestTicket(options: ClientOptions, wanted: { confrId: string; password?: string; role?: RoleNumber }): Promise<Ticket>;

  readonly state: CallState;
  readonly confrId: string | null;
  readonly self: Member | null;
  readonly role: RoleNumber | 0;
  readonly info: ConferenceInfo | null;
  /** Who is inside, by id, oneself included; in a LIVE conference without the audience. */
  readonly members: ReadonlyMap<string, Member>;
  /** The streams whose media flows, by id. */
  readonly streams: ReadonlyMap<string, Stream>;
  readonly roleToken: string | null;
  /** By rtcId. */
  readonly publications: ReadonlyMap<string, Publication>;
  /** By the id of the stream. */
  readonly subscriptions: ReadonlyMap<string, Subscription>;

  join(target: JoinTarget): Promise<Joined>;
  leave(): Promise<void>;
  publish(wanted?: { rtcId?: string; video?: boolean; audio?: boolean; type?: 0 | 1 }): Promise<Publication>;
  subscribe(streamId: string, options?: { profile?: 'rtc' | 'live' }): Promise<Subscription>;
  kick(memberNames: string[]): Promise<{ kicked: string[] }>;
  setRole(memberNames: string[], role: RoleNumber): Promise<{ changed: string[] }>;
  mute(memberNames: string[], what: { audio?: boolean; video?: boolean }): Promise<{ muted: unknown[] }>;
  end(): Promise<null>;
  change(change: { password?: string; limits?: Partial<Limits>; memDefaultRole?: RoleNumber; metadata?: AppData }): Promise<ConferenceInfo>;
  issueTicket(wanted?: { user?: string; role?: RoleNumber; ttlSeconds?: number }): Promise<Ticket>;
  update(change: OwnData): Promise<{ member: Member }>;
  send(body: unknown, options?: { to?: string[] }): Promise<{ seq: number }>;
  stats(streamId: string): Promise<Record<string, unknown>>;
  /** Tries everything again that waits. */
  wake(): void;
  /** The events from now on, until the call is over. */
  events(): AsyncIterableIterator<ConferenceEvent>;
}

export interface Ticket {
  ticket: string;
  role: RoleNumber;
  expiresAt: string;
}

/** A live-pusher or live-player, as the SDK drives it. `done` is called when the component has the URL. */
export interface MediaElement {
  setUrl(url: string, done: () => void): void;
  start(): void;
  stop(): void;
}

export interface TrackEvents<State> {
  /** Of `state`, `url`, `weak`, or what is sent. */
  change: { state: State; url: string; weak: boolean };
  /** The component is to use this URL and begin. */
  start: { url: string };
  /** The component is to end. */
  stop: Record<string, never>;
  netStatus: { info: Record<string, unknown> };
}

declare class Track<State> extends Events<TrackEvents<State>> {
  readonly url: string;
  readonly state: State;
  /** The network of this picture is poor just now. */
  readonly weak: boolean;
  readonly stream: Stream;
  readonly expiresAt: string;
  /** Lets the SDK drive the component; the answer takes it back. */
  attach(element: MediaElement): () => void;
  /** What `bindstatechange` gave: the event, or its code. */
  handleStateChange(event: object | number): void;
  handleNetStatus(event: object): void;
  /** Tries again after `failed`, or asks for a new URL now. */
  retry(): void;
  resume(): void;
}

export interface PublicationState {
  name: 'starting' | 'live' | 'reconnecting' | 'refreshing' | 'suspended' | 'failed' | 'stopped';
  part?: 'camera' | 'microphone' | 'encoder' | null;
  reason?: string | null;
}

/** The own stream, for a live-pusher. */
export class Publication extends Track<PublicationState> {
  private constructor();
  readonly rtcId: string;
  readonly data: { rtmp: string; rtmpServer: string; rtmpKey: string };
  /** What `enable-camera` is bound to. */
  readonly video: boolean;
  /** What `enable-mic` is bound to. */
  readonly audio: boolean;
  /** `videos_full` while the pictures are held back for want of a place. */
  readonly refused: string | null;
  /** Answers whether the gateway was told. */
  setMedia(wanted: { video?: boolean; audio?: boolean }): Promise<boolean>;
  /** What `binderror` gave. */
  handleError(event: object): void;
  stop(): Promise<void>;
}

export interface SubscriptionState {
  name: 'loading' | 'playing' | 'reconnecting' | 'refreshing' | 'waiting' | 'suspended' | 'failed' | 'stopped';
  reason?: string | null;
}

/** A stream of somebody else, for a live-player. */
export class Subscription extends Track<SubscriptionState> {
  private constructor();
  readonly streamId: string;
  readonly data: { rtmp: string; flv: string; wsFlv: string };
  close(): void;
}

/** emedia's conference object. */
export interface Confr extends ConferenceInfo {
  password?: string;
  roleToken: string;
  ticket?: string;
  memId?: string;
  isCreator?: boolean;
}

export interface EmediaMember extends Member {
  memName: string;
  isSelf: boolean;
}

/** Callbacks in the stead of the promise, as the last argument: these, or one or two functions. */
export interface Callbacks<Value> {
  success?: (value: Value) => void;
  fail?: (error: TidegateError) => void;
  error?: (error: TidegateError) => void;
  complete?: (value: Value | TidegateError) => void;
}

type Done<Value> = [] | [Callbacks<Value>] | [success: (value: Value) => void, fail?: (error: TidegateError) => void];
type Ext = AppData | string | null;
type StreamHandler = ((stream: Stream) => void) | ((member: EmediaMember, stream: Stream) => void);

export interface EmediaManager {
  readonly ConfrType: typeof ConfrType;
  readonly Role: typeof Role;

  createConference(confrType: number | string, password?: string, rec?: boolean, recMerge?: boolean): Promise<Confr & { ticket: string }>;
  createConference(confrType: number | string, password: string, callbacks: Callbacks<Confr & { ticket: string }>): Promise<Confr & { ticket: string }>;
  getConferenceTkt(confrId: string, password?: string, ...done: Done<string>): Promise<string>;
  joinConference(confrId: string, password?: string, ext?: Ext, ...done: Done<Confr>): Promise<Confr>;
  joinConferenceWithTicket(confrId: string, ticket: string, ext?: Ext, ...done: Done<Confr>): Promise<Confr>;
  joinRoom(
    option: { roomName: string; password?: string; role?: number; config?: RoomConfig } & Callbacks<Confr>
  ): Promise<Confr>;
  exitConference(confrId?: string | Confr, ...done: Done<void>): Promise<void>;
  destroyConference(confrId: string | Confr, ...done: Done<void>): Promise<void>;
  kickMembersById(confrId: string, memberNames: string[], ...done: Done<{ kicked: string[] }>): Promise<{ kicked: string[] }>;
  grantRole(confrId: string, memberNames: string[], role: number | string, ...done: Done<{ changed: string[] }>): Promise<{ changed: string[] }>;
  muteMembers(confrId: string, memberNames: string[], what: { audio?: boolean; video?: boolean }, ...done: Done<unknown>): Promise<unknown>;
  pubStream(
    rtcId: string,
    options?: { video?: boolean; audio?: boolean; type?: 0 | 1 } & Callbacks<PubStream>
  ): Promise<PubStream>;
  subStream(streamId: string, options?: { profile?: 'rtc' | 'live' } & Callbacks<SubStream>): Promise<SubStream>;
  handlePusherState(event: object | number, rtcId?: string): void;
  handlePlayerState(event: object | number, streamId: string): void;
  setHost(url: string): void;
  /** The modern face of a call; without `confrId` that of the one joined last. */
  conference(confrId?: string): Conference | null;

  onMemberJoined?: (member: EmediaMember, stream?: Stream) => void;
  /** The same under the guide's other name. */
  onMemberJoin?: (member: EmediaMember, stream?: Stream) => void;
  onMemberExited?: (member: EmediaMember, reason: number) => void;
  /** `(member, stream)` where the function takes two arguments, else `(stream)`. */
  onStreamAdded?: StreamHandler;
  onStreamRemoved?: StreamHandler;
  onMediaChanaged?: StreamHandler;
  onMediaChanged?: StreamHandler;
  onRoleChanged?: (role: number) => void;
  onConferenceExit?: (reason: number, failed?: number) => void;
  /** The live-pusher or live-player is to use this URL from now on. */
  onPushUrlChanged?: (url: string, rtcId: string) => void;
  onPlayUrlChanged?: (url: string, streamId: string) => void;
  onNetworkDisconnect?: (state: CallState) => void;
  onReconnect?: () => void;
  onMessage?: (message: ConferenceEvents['message']) => void;
}

export interface PubStream {
  data: { rtmp: string; rtmpServer: string; rtmpKey: string };
  stream: Stream;
  publication: Publication;
}

export interface SubStream {
  data: { rtmp: string; flv: string; wsFlv: string };
  stream: Stream;
  subscription: Subscription;
}

export interface EmediaConfig {
  apiURL: string;
  token?: string;
  getToken?: (user?: string) => Promise<string>;
  appId?: string;
  user?: string;
  platform?: Platform;
}

export interface Emedia {
  config: ((config: EmediaConfig) => void) & { apiURL: string };
  util: { getRtcId(): string };
  mgr: EmediaManager;
}

export const emedia: Emedia;
/** An `emedia` of its own, for more than one user in a process. */
export function createEmedia(): Emedia;

export interface VoipResult {
  errCode: number;
  errMsg: string;
}

interface VoipCallbacks<Result> {
  success?: (result: Result) => void;
  fail?: (error: TidegateError & VoipResult) => void;
  complete?: (result: Result | (TidegateError & VoipResult)) => void;
}

export interface MuteConfig {
  muteMicrophone?: boolean;
  muteEarphone?: boolean;
}

export interface VoipSignature {
  signature: string;
  nonceStr: string;
  timeStamp: number | string;
}

export interface VoipTile {
  openid: string;
  isSelf: boolean;
  url: string;
  /** Its picture is shown. */
  picture: boolean;
  /** It is heard; of oneself: the microphone is on. */
  sound: boolean;
  track: Publication | Subscription;
}

export type OpenIds = VoipResult & { openIdList: string[] };

export const VoIPErrCode: {
  readonly ALREADY_INSIDE: -1;
  readonly RECORDER_BUSY: -2;
  readonly LEFT_WHILE_JOINING: -3;
  readonly SYSTEM: -1000;
};

/** WeChat's VoIP names over a conference of the gateway. */
export class Voip {
  constructor(options: ClientOptions & { getSignature?: (groupId: string) => Promise<VoipSignature> });
  joinVoIPChat(
    option: VoipSignature & { groupId: string; roomType?: 'voice' | 'video'; muteConfig?: MuteConfig } & VoipCallbacks<OpenIds>
  ): Promise<OpenIds>;
  exitVoIPChat(option?: VoipCallbacks<VoipResult>): Promise<VoipResult>;
  updateVoIPChatMuteConfig(option: { muteConfig: MuteConfig } & VoipCallbacks<VoipResult>): Promise<VoipResult>;
  subscribeVoIPVideoMembers(option: { openIdList: string[] } & VoipCallbacks<VoipResult>): Promise<VoipResult>;
  tiles(): VoipTile[];
  onVoIPChatMembersChanged(callback: (event: OpenIds) => void): void;
  offVoIPChatMembersChanged(callback?: (event: OpenIds) => void): void;
  /** Taken for WeChat's sake; this gateway does not tell who speaks. */
  onVoIPChatSpeakersChanged(callback: (event: OpenIds) => void): void;
  offVoIPChatSpeakersChanged(callback?: (event: OpenIds) => void): void;
  onVoIPVideoMembersChanged(callback: (event: OpenIds) => void): void;
  offVoIPVideoMembersChanged(callback?: (event: OpenIds) => void): void;
  onVoIPChatInterrupted(callback: (event: VoipResult & { reason?: number }) => void): void;
  offVoIPChatInterrupted(callback?: (event: VoipResult & { reason?: number }) => void): void;
  onVoIPChatStateChanged(callback: (event: VoipResult & { code: number; data: { state: CallState } }) => void): void;
  offVoIPChatStateChanged(callback?: (event: VoipResult & { code: number; data: { state: CallState } }) => void): void;
  onVoIPTilesChanged(callback: (event: { tiles: VoipTile[] }) => void): void;
  offVoIPTilesChanged(callback?: (event: { tiles: VoipTile[] }) => void): void;
}
