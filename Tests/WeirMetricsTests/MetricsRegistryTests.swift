import Foundation
import Testing
import WeirMetrics

@Suite struct MetricsRegistryTests {
    @Test func theSameNameAndLabelsAreTheSameObject() {
        let registry = MetricsRegistry()
        let one = registry.counter("weir_a_total", help: "A", labels: [("kind", "x"), ("code", "1")])
        let two = registry.counter("weir_a_total", help: "A", labels: [("code", "1"), ("kind", "x")])
        let other = registry.counter("weir_a_total", help: "A", labels: [("code", "2"), ("kind", "x")])
        #expect(one === two)
        #expect(one !== other)
        #expect(registry.gauge("weir_g", help: "G") === registry.gauge("weir_g", help: "G"))
        let first = registry.histogram("weir_h", help: "H", buckets: [1])
        #expect(first === registry.histogram("weir_h", help: "H", buckets: [2]))
    }

    @Test func countersAndGaugesAreRenderedInOrderWithTheirHelpOnce() {
        let registry = MetricsRegistry()
        registry.gauge("weir_z", help: "Last").set(1.5)
        registry.counter("weir_b_total", help: "B", labels: [("code", "2")]).increment(by: 3)
        registry.counter("weir_b_total", help: "B", labels: [("code", "1")]).increment()
        #expect(
            registry.render() == """
                # HELP weir_b_total B
                # TYPE weir_b_total counter
                weir_b_total{code="1"} 1
                weir_b_total{code="2"} 3
                # HELP weir_z Last
                # TYPE weir_z gauge
                weir_z 1.5

                """)
    }

    @Test func histogramsAreCumulativeWithSumAndCount() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram("weir_h_seconds", help: "H", buckets: [1, 0.5, .infinity])
        for value in [0.5, 0.75, 7, .nan] { histogram.observe(value) }
        #expect(
            registry.render() == """
                # HELP weir_h_seconds H
                # TYPE weir_h_seconds histogram
                weir_h_seconds_bucket{le="0.5"} 1
                weir_h_seconds_bucket{le="1"} 2
                weir_h_seconds_bucket{le="+Inf"} 3
                weir_h_seconds_sum 8.25
                weir_h_seconds_count 3

                """)
    }

    @Test func labelsAndHelpAreEscaped() {
        let registry = MetricsRegistry()
        registry.counter("weir_e_total", help: "a\\b\nc \"d\"", labels: [("v", "a\\b\nc\"d\"")]).increment()
        #expect(
            registry.render() == """
                # HELP weir_e_total a\\\\b\\nc "d"
                # TYPE weir_e_total counter
                weir_e_total{v="a\\\\b\\nc\\"d\\""} 1

                """)
    }

    @Test func collectorsAreAskedAtEveryScrapeAndJoinTheirFamily() {
        let registry = MetricsRegistry()
        let source = Counter()
        registry.counter("weir_c_total", help: "C", labels: [("worker", "main")]).increment()
        registry.collect {
            [
                Sample(
                    name: "weir_c_total", help: "C", kind: .counter, labels: [("worker", "0")],
                    value: Double(source.value)),
                Sample(name: "weir_nan", help: "N", kind: .gauge, value: .nan),
                Sample(name: "weir_c_total", help: "wrong kind", kind: .gauge, value: 9),
            ]
        }
        source.increment(by: 5)
        let text = registry.render()
        #expect(text.contains("weir_c_total{worker=\"main\"} 1\nweir_c_total{worker=\"0\"} 5\n"))
        #expect(text.contains("weir_nan NaN\n"))
        #expect(!text.contains(" 9\n"))
        source.increment()
        #expect(registry.render().contains("weir_c_total{worker=\"0\"} 6\n"))
    }

    @Test func nothingIsLostWhenManyTasksCount() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("weir_n_total", help: "N")
        let gauge = registry.gauge("weir_n", help: "N")
        let histogram = registry.histogram("weir_n_seconds", help: "N", buckets: [1])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 {
                        counter.increment()
                        gauge.add(0.5)
                        histogram.observe(2)
                    }
                }
            }
        }
        #expect(counter.value == 8_000)
        #expect(gauge.value == 4_000)
        #expect(histogram.sum == 16_000)
        #expect(histogram.cumulativeCounts == [0, 8_000])
    }

    private static let promtool = "/usr/bin/promtool"

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: promtool)))
    func prometheusReadsWhatIsRendered() throws {
        let registry = MetricsRegistry()
        registry.counter("weir_asked_total", help: "A \\ \n b", labels: [("v", "\"\\\n")]).increment()
        registry.gauge("weir_load", help: "G").set(-0.5)
        registry.histogram("weir_wait_seconds", help: "H", labels: [("k", "v")], buckets: [0.1, 1]).observe(0.5)
        registry.collect { [Sample(name: "weir_sent_total", help: "S", kind: .counter, value: 1e20)] }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.promtool)
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(registry.render().utf8))
        try input.fileHandleForWriting.close()
        let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(said)")
    }
}
