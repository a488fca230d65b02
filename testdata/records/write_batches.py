"""Writes kafka-python-*.bin with kafka-python 3.0.12, lz4 4.4.5, python-snappy 0.7.3 and zstandard 0.25.0."""

from kafka.record.memory_records import MemoryRecordsBuilder

CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
VALUE = b'{"id":%d,"email":"person%d@example.org","card":"4111111111111111","note":"%s"}'

for code, name in CODECS.items():
    builder = MemoryRecordsBuilder(magic=2, compression_type=code, batch_size=1 << 20)
    for i in range(40):
        builder.append(
            timestamp=1700000000000 + i,
            key=b"customer-%d" % i,
            value=VALUE % (i, i, b"x" * (i * 60)),
            headers=[("trace", b"t%d" % i), ("trace", b"second"), ("none", None)],
        )
    builder.close()
    with open(f"kafka-python-{name}.bin", "wb") as file:
        file.write(builder.buffer())
