import MediaFormats
import Recording
import Testing
import Weir
import Wire

private func parse(_ yaml: String?, _ environment: [String: String] = [:]) throws -> Configuration.Recording {
    try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: environment).recording
}

private func problems(_ yaml: String) -> String {
    do {
        _ = try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: [:])
        return ""
    } catch {
        return error.description
    }
}

@Suite struct RecordingConfigurationTests {
    @Test func valuesHaveTheirForms() throws {
        #expect(try parse("recording: {sync: fragment}").sync == .everyFragment)
        #expect(try parse("recording: {sync: never}").sync == .never)
        #expect(try parse("recording: {sync: 500ms}").sync == .interval(.milliseconds(500)))
        #expect(try parse("recording: {formats: 'h264-ts, vp8-mkv'}").formats == [.h264: .ts, .vp8: .mkv])
        #expect(try parse("recording: {formats: [h264-mp4, vp9-mp4]}").formats == [.h264: .mp4, .vp9: .mp4])
        let template = try parse("recording: {template: '{streamName}-{startTime}'}").template
        #expect(template.text == "{streamName}-{startTime}")
        #expect(try parse(nil, ["WEIR_RECORDING_TEMPLATE": "\"{streamName}\""]).template == .streamName)
        #expect(try parse("recording: {names: ['room-*', exact]}").names.map(\.text) == ["room-*", "exact"])
        #expect(try parse("recording: {multiple_format: mp4}").multipleFormat == .mp4)
        #expect(try parse("recording: {keep: 48h, keep_size: 10GiB}").keepSize == 10 << 30)
    }

    @Test(arguments: [
        ("{sync: often}", "never, fragment, or a time"), ("{sync: 1ms}", "100ms to 1h"),
        ("{formats: vp8-mp4}", "a container that takes it"), ("{formats: ''}", "mapping"),
        ("{template: '{nobody}'}", "{streamName}"), ("{template: ''}", "template"),
        ("{names: ['a*b*c']}", "one * may stand"), ("{hook: on-record.sh}", "absolute path"),
        ("{fragment: 2s}", "100ms to 1s"), ("{download: all}", "off, operator, link"), ("{max: 0}", "from 1 to"),
        ("{multiple_format: webm}", "mkv, mp4"),
    ])
    func wrongValuesAreExplained(value: String, remedy: String) {
        #expect(problems("recording: \(value)").contains(remedy), "\(problems("recording: \(value)"))")
    }
}
