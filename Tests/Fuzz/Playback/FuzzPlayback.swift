import Glibc
import MediaFiles
import MediaFormats
import Playback
import Wire

/// Input: one byte of choices (lowest bit: played again and again), then a media file. It is opened as `vod://` would open
/// it, made ready and given out: every unit in order, every payload small enough to be sent. The input as text is a name.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 1, count <= mostBytes else { return 0 }
    _ = boundedAllocations
    let input = UnsafeRawBufferPointer(start: data, count: count)
    name(String(decoding: input, as: UTF8.self))
    play(input.dropFirst(), loops: input[0] & 1 != 0)
    return 0
}

private let mostBytes = 64 << 10
private let boundedAllocations: Void = LibAV.bound(allocations: 16 << 20)
private let mostUnits = 300
private let places = TranscodingPlaces(1)

private func name(_ text: String) {
    guard let components = PlaybackName("vod://" + text)?.components else { return }
    precondition(!components.isEmpty, "a file")
    for component in components {
        precondition(!component.utf8.contains { $0 == 0 || $0 == UInt8(ascii: "/") }, "one step")
        precondition(component != "." && component != "..", "no way out")
    }
}

private func play(_ bytes: Slice<UnsafeRawBufferPointer>, loops: Bool) {
    let path = "/dev/shm/weir-fuzz-playback-\(getpid())"
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    unlink(path)
    let file = UnsafeRawBufferPointer(rebasing: bytes)
    guard write(descriptor, file.baseAddress, file.count) == file.count,
        let reader = try? FileReader(descriptor: descriptor, loops: loops, places: places)
    else { return }
    var playout = Playout(clocks: reader.tracks.map { .init(rate: $0.description.clockRate, first: 0) })
    var due = reader.tracks.map { _ in Interval(nanoseconds: .min) }
    var left = mostUnits
    while left > 0, let unit = try? reader.next() {
        left -= 1
        precondition(reader.tracks.indices.contains(unit.track) && !unit.payloads.isEmpty, "something of a known track")
        precondition(unit.due >= due[unit.track], "in order")
        due[unit.track] = unit.due
        if unit.isVideo { precondition(unit.payloads.allSatisfy { $0.count <= 1_400 }, "packets that fit") }
        playout.add(unit)
    }
    playout.complete()
    playout.start(now: .zero)
    // A day later everything is due.
    while playout.next(now: Instant(nanoseconds: 86_400_000_000_000 * 11)) != nil {}
}
