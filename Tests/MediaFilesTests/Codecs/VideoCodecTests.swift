import CLibAV
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Testing
import Wire

/// Brightness that `TestClip` gives the sample of a picture.
private func expected(_ index: Int, x: Int, y: Int) -> Int { ((x ^ y) / 2 + index * 4) & 0xff }

/// Whether a picture is, but for the losses of its codec, the clip's one with this index.
private func isPicture(_ picture: VideoPicture?, _ index: Int) -> Bool {
    guard let picture, picture.size == VideoSize(width: 160, height: 96) else { return false }
    let points = [(8, 8), (40, 20), (100, 70), (150, 90)]
    let errors = points.map { x, y in abs(Int(picture.luma(x: x, y: y) ?? 0) - expected(index, x: x, y: y)) }
    return errors.reduce(0, +) / errors.count < 24
}

/// Pixels of a PNG file, decoded by libavcodec.
private func pixels(ofPNG file: [UInt8]) throws -> (size: VideoSize, at: (Int, Int) -> Int) {
    let context = try #require(avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_PNG)))
    var owned: UnsafeMutablePointer<AVCodecContext>? = context
    defer { avcodec_free_context(&owned) }
    try #require(avcodec_open2(context, nil, nil) >= 0)
    var packet = av_packet_alloc()
    var frame = av_frame_alloc()
    defer {
        av_packet_free(&packet)
        av_frame_free(&frame)
    }
    try #require(av_new_packet(packet, Int32(file.count)) >= 0)
    for (index, byte) in file.enumerated() { packet!.pointee.data[index] = byte }
    try #require(avcodec_send_packet(context, packet) >= 0)
    try #require(avcodec_receive_frame(context, frame) >= 0)
    let (width, height, line) = (Int(frame!.pointee.width), Int(frame!.pointee.height), Int(frame!.pointee.linesize.0))
    try #require(frame!.pointee.format == AV_PIX_FMT_RGB24.rawValue)
    let bytes = Array(UnsafeBufferPointer(start: frame!.pointee.data.0!, count: line * height))
    return (VideoSize(width: width, height: height), { x, y in Int(bytes[y * line + 3 * x]) })
}

@Suite struct VideoCodecTests {
    static let codecs: [Codec] = [.vp8, .vp9, .h264, .h265, .av1]

    @Test(arguments: codecs) func picturesSurviveNetworkAndDecoder(_ codec: Codec) throws {
        let clip = try TestClip.video(codec, count: 30)
        var packetiser = Packetiser(codec: codec, limit: 300)
        var packets: [(MediaPacket, [UInt8])] = []
        for frame in clip.frames {
            let payloads = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
            for (index, payload) in payloads.enumerated() {
                let timestamp = UInt32(truncatingIfNeeded: frame.time.nanoseconds * 9 / 100_000)
                packets.append(
                    (
                        MediaPacket(
                            track: 0, number: Int64(packets.count), timestamp: timestamp,
                            marker: index == payloads.count - 1, arrival: .zero + frame.time), payload
                    ))
            }
        }
        // Neighbours change places.
        for index in stride(from: 2, to: packets.count - 1, by: 3) { packets.swapAt(index, index + 1) }
        var assembler = StreamAssembler(tracks: [clip.description])
        let decoder = try VideoDecoder(clip.description)
        var pictures: [VideoPicture] = []
        var keys: [Bool] = []
        for (packet, payload) in packets {
            assembler.handle(packet, payload: payload.span.bytes)
            while let frame = assembler.poll() {
                keys.append(frame.isKeyFrame)
                pictures += try decoder.decode(frame)
            }
        }
        pictures += try decoder.finish()
        #expect(keys == clip.frames.map(\.isKeyFrame))
        #expect(pictures.count == 30)
        for (index, picture) in pictures.enumerated() {
            #expect(isPicture(picture, index), "picture \(index)")
            #expect(abs((picture.time - clip.frames[index].time).microseconds) < 100)
        }
    }

    @Test(arguments: codecs) func aSnapshotIsTheFirstKeyFrame(_ codec: Codec) throws {
        let clip = try TestClip.video(codec, count: 20, keyEvery: 10)
        let renderer = try SnapshotRenderer(track: clip.description)
        var file: [UInt8]?
        var taken = 0
        // Joins in the middle.
        for frame in clip.frames.dropFirst(5) where file == nil {
            file = try renderer.handle(frame)
            taken += 1
        }
        let png = try pixels(ofPNG: #require(file))
        #expect(taken == 6)
        #expect(png.size == VideoSize(width: 160, height: 96))
        // Full range: brightness 16...235 becomes 0...255.
        let wanted = (expected(10, x: 100, y: 70) - 16) * 255 / 219
        #expect(abs(png.at(100, 70) - wanted) < 24)
    }

    @Test(arguments: VideoRotation.allCases) func picturesAreTurnedUpright(_ rotation: VideoRotation) throws {
        // Bright in the upper left quarter, hence after the rotation in another one.
        let picture = try VideoPicture(size: VideoSize(width: 64, height: 32), rotation: rotation) { x, y in
            x < 32 && y < 16 ? 235 : 16
        }
        let png = try pixels(ofPNG: PNGEncoder.encode(picture))
        let sideways = rotation.isSideways
        #expect(png.size == VideoSize(width: sideways ? 32 : 64, height: sideways ? 64 : 32))
        let (w, h) = (png.size.width, png.size.height)
        let corners = [png.at(2, 2), png.at(w - 3, 2), png.at(w - 3, h - 3), png.at(2, h - 3)]
        let bright = rotation.rawValue / 90
        for (index, corner) in corners.enumerated() { #expect(index == bright ? corner > 240 : corner < 15) }
    }

    @Test func widePicturesAreMadeSmaller() throws {
        let picture = try VideoPicture(size: VideoSize(width: 640, height: 360)) { _, _ in 128 }
        let small = try pixels(ofPNG: PNGEncoder.encode(picture, maxWidth: 160))
        #expect(small.size == VideoSize(width: 160, height: 90))
        let turned = try VideoPicture(size: VideoSize(width: 640, height: 360), rotation: .clockwise90) { _, _ in 128 }
        #expect(try pixels(ofPNG: PNGEncoder.encode(turned, maxWidth: 180)).size == VideoSize(width: 180, height: 320))
    }

    @Test func damagedAndHopelessStreamsGiveNoPictureButAnError() throws {
        let clip = try TestClip.video(.vp8, count: 2)
        let renderer = try SnapshotRenderer(track: clip.description)
        var random = SeededRandom(seed: 5)
        var outcome: CodecError?
        for index in 0...SnapshotRenderer.maxFrames {
            let bytes = (0..<40).map { _ in UInt8.random(in: 0...255, using: &random) }
            let frame = MediaFrame(track: 0, data: bytes, time: .milliseconds(Int64(index)), isKeyFrame: index % 2 == 0)
            do throws(CodecError) {
                #expect(try renderer.handle(frame) == nil)
            } catch { outcome = error }
        }
        #expect(outcome == .noPicture)
        #expect(throws: CodecError.unsupported(.opus)) { try SnapshotRenderer(track: TrackDescription(codec: .opus)) }
        #expect("\(CodecError.decoderMissing(.av1))".contains("libavcodec59"))
    }

    @Test func aStreamWithPicturesOutOfOrderGivesItsFirstOneAtOnce() throws {
        // As a camera's encoder: B frames, so that a decoder holds pictures back.
        let encoder = try #require(avcodec_alloc_context3(avcodec_find_encoder_by_name("libx264")))
        var owned: UnsafeMutablePointer<AVCodecContext>? = encoder
        defer { avcodec_free_context(&owned) }
        (encoder.pointee.width, encoder.pointee.height, encoder.pointee.pix_fmt) = (64, 64, AV_PIX_FMT_YUV420P)
        (encoder.pointee.time_base, encoder.pointee.max_b_frames) = (weir_rational(1, 25), 3)
        try #require(avcodec_open2(encoder, nil, nil) >= 0)
        var frame = av_frame_alloc()
        var packet = av_packet_alloc()
        defer {
            av_frame_free(&frame)
            av_packet_free(&packet)
        }
        (frame!.pointee.width, frame!.pointee.height) = (64, 64)
        frame!.pointee.format = AV_PIX_FMT_YUV420P.rawValue
        try #require(av_frame_get_buffer(frame, 0) >= 0)
        var first: [UInt8] = []
        for index in 0...60 where first.isEmpty {
            frame!.pointee.pts = Int64(index)
            avcodec_send_frame(encoder, index < 60 ? frame : nil)
            guard avcodec_receive_packet(encoder, packet) >= 0 else { continue }
            first = Array(UnsafeBufferPointer(start: packet!.pointee.data, count: Int(packet!.pointee.size)))
        }
        let renderer = try SnapshotRenderer(track: TrackDescription(codec: .h264))
        let png = try renderer.handle(MediaFrame(track: 0, data: first, time: .zero, isKeyFrame: true))
        #expect(try pixels(ofPNG: #require(png)).size == VideoSize(width: 64, height: 64))
    }

    @Test(arguments: codecs) func damagedFramesDoNotEndAStream(_ codec: Codec) throws {
        let clip = try TestClip.video(codec, count: 45)
        let transcoder = try VideoTranscoder(from: clip.description)
        var random = SeededRandom(seed: 9)
        var last: [MediaFrame] = []
        for (index, frame) in clip.frames.enumerated() {
            var damaged = frame
            if (16..<29).contains(index) {
                for _ in 0..<8 {
                    let place = Int.random(in: 0..<damaged.data.count, using: &random)
                    damaged.data[place] = UInt8.random(in: 0...255, using: &random)
                }
                damaged.data.removeLast(damaged.data.count / 3)
            }
            let out = try transcoder.transcode(damaged)
            if index >= 30 { last += out }
        }
        // From the next key frame on all is as it was.
        #expect(last.count == 15)
        let decoder = try VideoDecoder(transcoder.output)
        transcoder.requestKeyFrame()
        let again = try transcoder.transcode(clip.frames[30])
        #expect(isPicture(try again.flatMap { try decoder.decode($0) }.last, 30))
    }

    @Test(arguments: [Codec.vp8, .vp9, .av1]) func picturesBecomeH264(_ codec: Codec) throws {
        let clip = try TestClip.video(codec, count: 40)
        let transcoder = try VideoTranscoder(from: clip.description)
        let decoder = try VideoDecoder(transcoder.output)
        var frames: [MediaFrame] = []
        for (index, frame) in clip.frames.enumerated() {
            if index == 20 { transcoder.requestKeyFrame() }
            var turned = frame
            turned.rotation = .clockwise90
            frames += try transcoder.transcode(turned)
        }
        // One in, one out, at once.
        #expect(frames.map(\.time) == clip.frames.map(\.time))
        #expect(frames.indices.filter { frames[$0].isKeyFrame } == [0, 20])
        #expect(frames[0].parameterSets?.count == 2 && frames[0].size == VideoSize(width: 160, height: 96))
        #expect(frames[20].parameterSets == nil)
        #expect(frames.allSatisfy { $0.rotation == .clockwise90 })
        var pictures: [VideoPicture] = []
        for frame in frames { pictures += try decoder.decode(frame) }
        #expect(pictures.count == 40)
        for (index, picture) in pictures.enumerated() { #expect(isPicture(picture, index), "picture \(index)") }
    }

    @Test func aChangeOfSizeIsFollowedByAKeyFrame() throws {
        let small = try TestClip.video(.vp8, count: 5)
        let large = try TestClip.video(.vp8, count: 5, size: VideoSize(width: 321, height: 181), first: 5)
        let transcoder = try VideoTranscoder(from: small.description)
        var frames: [MediaFrame] = []
        for frame in small.frames + large.frames { frames += try transcoder.transcode(frame) }
        #expect(frames.indices.filter { frames[$0].isKeyFrame } == [0, 5])
        #expect(frames[5].size == VideoSize(width: 320, height: 180))
        #expect(frames[5].parameterSets != nil && frames[5].parameterSets != frames[0].parameterSets)
    }

    @Test func keyFramesComeAtTheirInterval() throws {
        let clip = try TestClip.video(.vp8, count: 60, keyEvery: 100)
        var settings = VideoTranscoder.Settings()
        settings.keyFrameInterval = .milliseconds(490)
        settings.bitrate = 300_000
        let transcoder = try VideoTranscoder(from: clip.description, settings: settings)
        var keys: [Int] = []
        for (index, frame) in clip.frames.enumerated() {
            if try transcoder.transcode(frame).first?.isKeyFrame == true { keys.append(index) }
        }
        #expect(keys == [0, 15, 30, 45])
    }
}
