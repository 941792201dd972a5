import Testing
import WeirMetrics

@Suite struct HistogramSampleTests {
    @Test func histogramsCountedElsewhereAreRendered() {
        let registry = MetricsRegistry()
        registry.collectHistograms {
            [
                HistogramSample(
                    name: "weir_turn_seconds", help: "T", bounds: [0.001, 0.5], cumulativeCounts: [1, 4, 6], sum: 2.25)
            ]
        }
        #expect(
            registry.render() == """
                # HELP weir_turn_seconds T
                # TYPE weir_turn_seconds histogram
                weir_turn_seconds_bucket{le="0.001"} 1
                weir_turn_seconds_bucket{le="0.5"} 4
                weir_turn_seconds_bucket{le="+Inf"} 6
                weir_turn_seconds_sum 2.25
                weir_turn_seconds_count 6

                """)
    }

    @Test func aNameHasOneType() {
        let registry = MetricsRegistry()
        registry.counter("weir_a_total", help: "A").increment()
        registry.collectHistograms {
            [HistogramSample(name: "weir_a_total", help: "A", bounds: [], cumulativeCounts: [1], sum: 1)]
        }
        #expect(registry.render() == "# HELP weir_a_total A\n# TYPE weir_a_total counter\nweir_a_total 1\n")
    }
}
