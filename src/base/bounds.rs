//! Every bound of the engine, by name. Reaching one is an outcome that the caller sees; relations between bounds are
//! proved at compile time at the foot of this file.

/// Positions in the journal and lengths of frames are multiples of this.
pub(crate) const ALIGN_BYTES: u64 = 8;

/// Default size of the staging ring and of a segment.
pub(crate) const RING_BYTES_DEFAULT: u64 = 8 << 20;
pub(crate) const SEGMENT_BYTES_DEFAULT: u64 = 8 << 20;

/// The least staging ring and segment, used by temporary databases.
pub(crate) const GEOMETRY_BYTES_MIN: u64 = 4 << 20;

/// The largest segment: a position inside one fits 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Journal bytes that may be issued and not yet durable.
pub(crate) const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Journal bytes that may lie between the checkpoint and the end of the journal, and so must be replayed at open.
pub(crate) const REPLAY_BYTES_MAX: u64 = 64 << 20;

/// Journal bytes since the last checkpoint at which the keeper starts another.
pub(crate) const CHECKPOINT_BYTES: u64 = REPLAY_BYTES_MAX / 4;

/// Bytes of the staging ring that only the frames which close a batch may take, so that one can be closed although the
/// ring is full.
pub(crate) const WATERMARK_RING_BYTES: u64 = if cfg!(loom) { 64 } else { 4096 };

/// The largest frame, however large the ring is: two of them fit under the bounds above, one of which may be padding.
pub(crate) const FRAME_BYTES_MAX: u64 = CHECKPOINT_BYTES;

/// Objects that may be changed and not yet in the index.
pub(crate) const DIRTY_ROWS_MAX: usize = 262_144;

/// Objects, logs or entries handled in one hold of the core lock.
pub(crate) const FREEZE_CHUNK: usize = 256;

/// Largest encoded row of the index: 4 KiB with the CRC-32C behind it.
pub(crate) const ROW_BYTES_MAX: usize = 4096 - size_of::<u32>();

/// Run changes that one checkpoint carries; the rest waits for the next.
pub(crate) const RUN_CHANGES_PER_CHECKPOINT_MAX: usize = 65_536;

/// Times a command may ask for cold facts before it is refused as contended.
pub(crate) const NEEDS_ROUNDS_MAX: usize = 16;

/// Times an append is routed again because partitions were added meanwhile, before it is refused as contended.
pub(crate) const REROUTES_MAX: usize = 16;

/// Timers kept in memory.
pub(crate) const TIMERS_IN_MEMORY: usize = 100_000;

/// Body of one message or record.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Key of one record.
pub(crate) const KEY_BYTES_MAX: usize = 64 << 10;

/// All headers of one record, encoded.
pub(crate) const HEADER_BLOCK_BYTES_MAX: usize = 64 << 10;

/// Partitions of one stream. Creating, altering and deleting one takes each of them in hand in one hold of the core
/// lock, which should take no longer than the copy of the largest frame.
pub(crate) const PARTITIONS_MAX: u32 = 4096;

/// Mappings of one stream: it may grow this often less one. Each takes a place in the stream's row.
pub(crate) const MAPPINGS_MAX: u32 = 128;

/// Bits of a number in which a partition's fits, in the id of a row.
pub(crate) const PARTITION_BITS: u32 = 12;

/// Producers of all streams together.
pub(crate) const PRODUCERS_MAX: usize = 4096;

/// Partitions in which producers have appended, counted for each producer. What is remembered of one takes 200 bytes of
/// memory; all of them may go with one stream, in one frame and one hold of the core lock.
pub(crate) const PRODUCER_PARTITIONS_MAX: usize = 16_384;

/// Batches of a producer that are remembered in each partition.
pub(crate) const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// How long a producer is remembered that nobody uses.
pub(crate) const PRODUCER_EXPIRY_MICROS_DEFAULT: u64 = 7 * 24 * 3_600 * 1_000_000;

/// Consumer groups of all streams together.
pub(crate) const GROUPS_MAX: usize = 2048;

/// Partitions of all groups together, counted for each group.
pub(crate) const GROUP_PARTITIONS_MAX: usize = 1 << 17;

/// Members of one group, and bits of a number in which a seat fits.
pub(crate) const GROUP_MEMBERS_MAX: usize = 1000;
pub(crate) const SEAT_BITS: u32 = 10;

/// Members of all groups together.
pub(crate) const MEMBERS_MAX: usize = 8192;

/// Claims of a group in one row.
pub(crate) const CLAIMS_PER_ROW: u32 = 64;

/// Groups that lose the members of an earlier host in one frame.
pub(crate) const GROUPS_PER_FRAME_MAX: usize = 64;

/// Queues of one database.
pub(crate) const QUEUES_MAX: usize = 65_536;

/// Messages before another one that are counted when it is asked why that does not come.
pub(crate) const BEHIND_MAX: usize = 1024;

/// Places in queues that the messages of one publish take together.
pub(crate) const PLACES_PER_PUBLISH_MAX: usize = 65_536;

/// Lanes of all queues together (a queue has one for each priority in use), and bits of a number in which a lane's
/// fits.
pub(crate) const LANES_MAX: usize = 1 << LANE_BITS;
pub(crate) const LANE_BITS: u32 = 20;

/// Bits of the sequence of a message in its lane, below those that name the lane.
pub(crate) const SEQUENCE_BITS: u32 = 48;

/// Priorities of messages.
pub(crate) const PRIORITIES: u8 = 32;

/// The priority of a message that names none.
pub(crate) const PRIORITY_DEFAULT: u8 = 4;

/// Messages of a lane whose states stand together in memory, and in a row.
pub(crate) const MESSAGES_PER_CHUNK: u64 = 64;
pub(crate) const MESSAGES_PER_ROW: u64 = 32;

/// Chunks of 64 messages of all queues together in which some message has a state of its own. Where there are more,
/// nothing is sent until some have gone. What becomes of messages that were sent may take more: it is never refused.
pub(crate) const CHUNKS_MAX: usize = 1 << 20;

/// Runs of messages that are told to an attached process at once. The answer is kept with the request for as long as
/// its process may ask again, in a row with others: what it does not tell the process has and never settles.
pub(crate) const HANDED_RUNS_MAX: usize = 64;
const _: () = assert!(HANDED_RUNS_MAX * 40 < ROW_BYTES_MAX * 2 / 3);

/// Messages in flight of all queues together. One frame must be able to take back all that a process holds.
pub(crate) const IN_FLIGHT_MAX: usize = 1 << 17;

/// Bytes of the id that a sender gives a message.
pub(crate) const MESSAGE_ID_BYTES_MAX: usize = 255;

/// Ids that all queues and exchanges remember together; 64 bytes of memory each. Where there are as many, a message
/// with an id that is not known is refused: none is forgotten before its time.
pub(crate) const DEDUP_IDS_MAX: usize = 1 << 20;

/// Ids that one fact tells of, and that one step forgets besides as many as come.
pub(crate) const DEDUP_IDS_PER_FACT_MAX: usize = 1024;

/// Ids that stand in one row.
pub(crate) const DEDUP_IDS_PER_ROW: u64 = 64;

/// Messages that one step of a purge passes in a queue whose ids go with their messages.
pub(crate) const DEDUP_PURGED_PER_STEP_MAX: u64 = 65_536;

/// Messages that one `receive` hands out at most.
pub(crate) const MESSAGES_PER_RECEIVE_MAX: usize = 1024;

/// Messages that a subscription takes from its queue at once at most.
pub(crate) const PREFETCH_MAX: usize = MESSAGES_PER_RECEIVE_MAX;

/// Consumers of all queues together that have joined: those of a process end in one frame.
pub(crate) const CONSUMERS_MAX: usize = 16_384;

/// How long messages that a subscription has in reserve may wait before they are extended: this, or a tenth of the
/// visibility timeout where that is less.
pub(crate) const RESERVE_AGE_MICROS_MAX: u64 = 1_000_000;

/// Threads of one worker.
pub(crate) const WORKER_THREADS_MAX: usize = 1024;

/// How long a worker extends the message that one of its threads has, unless told otherwise.
pub(crate) const MAX_RUN_MICROS_DEFAULT: u64 = 30 * 60 * 1_000_000;

/// The least pause between two extensions of a message by a worker, however short the visibility timeout.
pub(crate) const EXTENSION_MICROS_MIN: u64 = 1_000;

/// The least and the longest pause before a worker asks again for what was refused for a while only.
pub(crate) const ASK_AGAIN_MICROS_MIN: u64 = 10_000;
pub(crate) const ASK_AGAIN_MICROS_MAX: u64 = 1_000_000;

/// Deliveries that are settled by one call at most.
pub(crate) const DELIVERIES_PER_CALL_MAX: usize = 4096;

/// Messages of one queue that one tick moves on.
pub(crate) const MESSAGES_PER_TICK_MAX: usize = 1024;

/// Bytes of an error text that are kept.
pub(crate) const ERROR_BYTES_MAX: usize = 1024;

/// Error texts of a message that are told.
pub(crate) const ERRORS_TOLD_MAX: usize = 10;

/// Journal space that is kept for settling a message in flight.
pub(crate) const SETTLE_BYTES: u64 = 128;

/// Queues and reasons that the history of a message tells of, besides its first death.
pub(crate) const HISTORY_DEATHS_MAX: usize = 16;

/// Queues that a message may be moved out of in turn without that anybody tries it.
pub(crate) const HISTORY_QUEUES_MAX: usize = 64;

/// Bytes of a message's history.
pub(crate) const HISTORY_BYTES_MAX: usize = 32 << 10;

/// Dead letters that are moved to another queue in one frame, and their bytes, unless a single one has more.
pub(crate) const LETTERS_PER_MOVE_MAX: usize = 64;
pub(crate) const LETTER_BYTES_PER_MOVE_MAX: usize = 256 << 10;

/// Offsets of a log that may have died before its start is moved, and the bytes of them.
pub(crate) const TRIM_MESSAGES: u64 = 16_384;
pub(crate) const TRIM_BYTES: u64 = 1 << 20;

/// How long a handed-out message may stay unsettled, unless its queue says otherwise.
pub(crate) const VISIBILITY_MICROS_DEFAULT: u64 = 30 * 60 * 1_000_000;

/// Failed attempts after which a message is dead, unless its queue or itself says otherwise.
pub(crate) const MAX_ATTEMPTS_DEFAULT: u32 = 5;

/// The least and the longest pause before another attempt, unless the queue says otherwise.
pub(crate) const BACKOFF_MICROS_DEFAULT: u64 = 1_000_000;
pub(crate) const BACKOFF_MICROS_MAX_DEFAULT: u64 = 600_000_000;

/// The longest duration that a queue or a message names: ten thousand days.
pub(crate) const DURATION_MICROS_MAX: u64 = 10_000 * 86_400 * 1_000_000;

/// How long a message that lives for no time at all stays for a consumer who waits.
pub(crate) const AWAITED_MICROS: u64 = 1_000_000;

/// Schedules of one database, and bytes of the message of each: they stand in memory, and in one row.
pub(crate) const SCHEDULES_MAX: usize = 10_000;
pub(crate) const SCHEDULE_MESSAGE_BYTES_MAX: usize = 2 << 10;

/// Bytes of a cron pattern, and of the name of a time zone.
pub(crate) const CRON_BYTES_MAX: usize = 255;
pub(crate) const ZONE_BYTES_MAX: usize = 64;

/// The least time between two runs of a schedule.
pub(crate) const SCHEDULE_EVERY_MICROS_MIN: u64 = 1_000_000;

/// How late a run may be that is the newest of its schedule before it counts as missed.
pub(crate) const SCHEDULE_LATE_MICROS: u64 = 60_000_000;

/// Missed runs that are made up for one by one, before the rest is made up for by one.
pub(crate) const MISSED_RUNS_MAX: u64 = 1000;

/// Missed runs of a cron pattern that are counted at a time.
pub(crate) const RUNS_COUNTED_MAX: u64 = 100;

/// Runs that are to come which are told at a time.
pub(crate) const RUNS_TOLD_MAX: usize = 1000;

/// How many years ahead a run of a cron pattern is looked for (a 29 February that is a given day of the week may be 40
/// years away), and how many steps that takes at most (a zone that leaves out a whole day takes as many as it has
/// seconds).
pub(crate) const RUN_YEARS_MAX: i32 = 50;
pub(crate) const RUN_SEARCH_STEPS_MAX: u32 = 100_000;

/// Places in queues that a schedule looks at to learn whether its last message is settled.
pub(crate) const SCHEDULE_PLACES_MAX: usize = 32;

/// Bytes that are kept of why a run was refused.
pub(crate) const SCHEDULE_ERROR_BYTES_MAX: usize = 256;

/// Partitions of all streams together.
pub(crate) const LOGS_MAX: usize = 1 << 20;

/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Frames with a payload above this carry a checksum per item, so that one item can be read without the rest.
pub(crate) const LARGE_FRAME_BYTES: usize = 64 << 10;

/// Spare segments made ahead when the database is idle (one of them is the reserve) and under load.
pub(crate) const SPARES_IDLE: u64 = 2;
pub(crate) const SPARES_LOADED: u64 = 8;

/// Bytes of the ballast file beyond those of a segment. It is given up on a full disk for a segment to open with or a
/// survivor, and what a checkpoint needs besides: sidecars, and room in the index.
pub(crate) const BALLAST_SPARE_BYTES: u64 = 4 << 20;

/// Journal bytes that may lie on disk beyond twice the live bytes.
pub(crate) const JOURNAL_BUDGET_BYTES: u64 = 256 << 20;

/// Sealed segments that are kept open for readers; the segments of the journal's end come on top.
pub(crate) const OPEN_SEGMENTS_MAX: usize = 256;

/// Bytes of the files that one cleaning copies from: no survivor is longer, and its positions have 32 bits.
pub(crate) const CLEANED_BYTES_MAX: u64 = 3 << 30;

/// Segments that one cleaning copies from.
pub(crate) const SEGMENTS_PER_CLEANING_MAX: usize = 32;

/// How long a tombstone is kept after a pass of compaction has come by it.
pub(crate) const TOMBSTONE_RETENTION_MICROS_DEFAULT: u64 = 24 * 3_600 * 1_000_000;

/// Bytes of records that one step of compaction reads.
pub(crate) const COMPACTION_SLICE_BYTES: u64 = 32 << 20;

/// Records that one reader's batch holds at most.
pub(crate) const RECORDS_PER_READ_MAX: usize = 65_536;

/// Records that `append_batch` takes at most.
pub(crate) const RECORDS_PER_BATCH_MAX: usize = 65_536;

/// Descriptors open at once in a process that a forked child must not keep: locks, sockets, alarms.
pub(crate) const DESCRIPTORS_NOT_INHERITED_MAX: usize = 4096;

/// Connections that wait to be accepted.
pub(crate) const CONNECTIONS_WAITING_MAX: i32 = 1024;

/// Sessions of attached processes, and their connections.
pub(crate) const SESSIONS_MAX: usize = 1024;

/// Descriptors that connections leave to the rest of the process, where it may have that many.
pub(crate) const DESCRIPTORS_LEFT: u64 = 256;

/// Requests of one session whose replies are remembered: those that its process may not have seen.
pub(crate) const REQUESTS_REMEMBERED_MAX: u64 = 256;

/// One frame between an attached process and its host: the largest batch, and what is said beside it.
pub(crate) const WIRE_FRAME_BYTES_MAX: usize = FRAME_BYTES_MAX as usize + (64 << 10);

/// Headers that all records of a batch have together at most: what is made of them is larger than their bytes.
pub(crate) const HEADERS_PER_BATCH_MAX: usize = 1 << 20;

/// A kind of refusal is logged once in this time.
pub(crate) const REFUSAL_TOLD_MICROS: u64 = 1_000_000;

/// Questions of one attached process that may be open at the same time; readers that wait are among them.
pub(crate) const QUESTIONS_OPEN_MAX: usize = 4096;

/// Partitions of which members of consumer groups in one attached process wait for records at the same time.
pub(crate) const WATCHED_LOGS_MAX: usize = 65_536;

/// An attached process waits before it writes more than this without an answer; it keeps them to ask again.
pub(crate) const UNANSWERED_BYTES_MAX: usize = UNSYNCED_BYTES_MAX as usize;

/// Bytes of requests that an attached process gathers before it sends them although nobody waits.
pub(crate) const GATHERED_BYTES_MAX: usize = 16 << 10;

/// Bytes of records that an answer carries itself; more are mapped by the asker.
pub(crate) const INLINE_BYTES_MAX: usize = 16 << 10;

/// How long a new connection has for its greeting.
pub(crate) const GREETING_MICROS_MAX: u64 = 5_000_000;

/// Connections, and waiting readers of each, that the thread answers that has made records visible. Where there are
/// more, their own threads are woken.
pub(crate) const ANSWERED_FOR_OTHERS_MAX: usize = 8;

/// How long an attached process may leave a full socket unread before the host lets it go.
pub(crate) const STALL_MICROS_MAX: u64 = 10_000_000;

/// How long the sessions of attached processes outlive the death of the host.
pub(crate) const RECONNECT_GRACE_MICROS_DEFAULT: u64 = 10_000_000;

/// How long a process looks for a host while somebody holds the directory and does not answer.
pub(crate) const HOST_AWAITED_MICROS_MAX: u64 = 60_000_000;

/// How long a process that leaves waits for a host while there is none.
pub(crate) const LEFT_ALONE_MICROS: u64 = 1_000_000;

/// The longest pause between two looks for a host.
pub(crate) const LOOK_AGAIN_MICROS_MAX: u64 = 10_000;

/// The pause after this process failed to host the database, before it looks again.
pub(crate) const FAILED_AGAIN_MICROS: u64 = 250_000;

/// How much longer than its own deadline a call waits for the host to say what became of it.
pub(crate) const VERDICT_MICROS: u64 = 500_000;

/// Segments that an attached process keeps mapped.
pub(crate) const MAPPED_SEGMENTS_MAX: usize = 4;

/// Microseconds after which written bytes are synced although nobody waits for them.
pub(crate) const FLUSH_INTERVAL_MICROS_DEFAULT: u64 = 50_000;

/// A forward step of the wall clock beyond this must be confirmed by boot time, or hold for `CLOCK_STEP_HOLD_MICROS`.
pub(crate) const CLOCK_STEP_MICROS_MAX: u64 = 3_600_000_000;
pub(crate) const CLOCK_STEP_HOLD_MICROS: u64 = 600_000_000;

const _: () = {
    assert!(GEOMETRY_BYTES_MIN.is_power_of_two());
    assert!(RING_BYTES_DEFAULT.is_power_of_two() && RING_BYTES_DEFAULT >= GEOMETRY_BYTES_MIN);
    assert!(SEGMENT_BYTES_DEFAULT.is_power_of_two() && SEGMENT_BYTES_DEFAULT >= RING_BYTES_DEFAULT);
    assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
    assert!(UNSYNCED_BYTES_MAX.is_multiple_of(GEOMETRY_BYTES_MIN));
    assert!(CHECKPOINT_BYTES < REPLAY_BYTES_MAX);
    let frame_bytes_least_max = GEOMETRY_BYTES_MIN / 2 - WATERMARK_RING_BYTES;
    assert!((BODY_BYTES_MAX + KEY_BYTES_MAX + HEADER_BLOCK_BYTES_MAX + 4096) as u64 <= frame_bytes_least_max);
    assert!(LARGE_FRAME_BYTES as u64 * 2 <= frame_bytes_least_max);
    assert!(FRAME_BYTES_MAX * 2 + GEOMETRY_BYTES_MIN <= UNSYNCED_BYTES_MAX);
    assert!(FRAME_BYTES_MAX * 2 + GEOMETRY_BYTES_MIN <= REPLAY_BYTES_MAX - CHECKPOINT_BYTES);
    assert!(SPARES_IDLE >= 2 && SPARES_LOADED > SPARES_IDLE);
    assert!(FREEZE_CHUNK <= DIRTY_ROWS_MAX);
    assert!(PARTITIONS_MAX <= 1 << PARTITION_BITS);
    assert!(PRODUCERS_MAX + PRODUCER_PARTITIONS_MAX < DIRTY_ROWS_MAX);
    let expired_bytes_max = 64;
    assert!((PRODUCERS_MAX + PRODUCER_PARTITIONS_MAX) as u64 * expired_bytes_max <= frame_bytes_least_max);
    // All groups may go, or be assigned anew, in one frame: 8 bytes a partition and less than 64 a group, 32 a member.
    let groups_bytes = GROUP_PARTITIONS_MAX * 8 + GROUPS_MAX * 64 + MEMBERS_MAX * 32;
    assert!((groups_bytes as u64) < frame_bytes_least_max);
    // All that is in flight may come back in one frame: a lane, a sequence and what becomes of it.
    assert!((IN_FLIGHT_MAX * 14) as u64 <= frame_bytes_least_max);
    assert!(IN_FLIGHT_MAX + CONSUMERS_MAX < DIRTY_ROWS_MAX);
    assert!(MESSAGES_PER_CHUNK == u64::BITS as u64 && MESSAGES_PER_CHUNK.is_multiple_of(MESSAGES_PER_ROW));
    assert!(SEQUENCE_BITS - MESSAGES_PER_ROW.ilog2() + LANE_BITS <= u64::BITS);
    assert!(DELIVERIES_PER_CALL_MAX * (ERROR_BYTES_MAX / 8) < frame_bytes_least_max as usize);
    assert!(DIRTY_ROWS_MAX > GROUPS_MAX * 2 + MEMBERS_MAX + GROUP_PARTITIONS_MAX / CLAIMS_PER_ROW as usize);
};
