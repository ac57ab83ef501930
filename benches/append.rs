//! Appending 100-byte records, one thread: one by one and in batches, `Buffered` and `Sync`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use towpath::{AppendOptions, Level, Options, Record, StreamOptions};

fn append(criterion: &mut Criterion) {
    let database = Options::new().open_temporary().expect("a temporary database opens");
    let stream = database.create_stream("orders", StreamOptions::new().retention_bytes(64 << 20)).expect("creates");
    let body = [b'x'; 100];
    let buffered = AppendOptions::new().level(Level::Buffered);
    let sync = AppendOptions::new().level(Level::Sync);

    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.bench_function("buffered", |b| {
        b.iter(|| stream.append_with(Record::new(black_box(&body)), &buffered).expect("appends"));
    });
    group.sample_size(10);
    group.bench_function("sync", |b| {
        b.iter(|| stream.append_with(Record::new(black_box(&body)), &sync).expect("appends"));
    });
    let batch = vec![Record::new(&body); 100];
    group.throughput(Throughput::Elements(100));
    group.bench_function("buffered batch of 100", |b| {
        b.iter(|| stream.append_batch(black_box(&batch), &buffered).expect("appends"));
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
