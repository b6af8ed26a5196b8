// TV-L1 optical flow of one pair of frames in one thread-block cluster: every level, every warp, one launch.
//
// Each block of the cluster holds a band of consecutive rows of the level. Where it is, for each pixel:
//
//   flow (u, v)                          shared memory   the band, and the row below it, the "ghost": computed again,
//                                                        which is cheaper than to wait for it
//   dual θ·p, along x and along y        shared memory   the band; the rows beside it come through mailboxes
//   data term ∇I1, ρ0                    shared memory   the band and the ghost
//   packed frames (I1, ∂x I1, ∂y I1, I0) global memory   of each level; read by the warp
//   flow of the pair                     global memory   the result; until then, what the median and the next level
//                                                        read, as [2, H, W]
//
// A frame too large for the chip has some of the first three in global memory, served by the L2 cache (ON_CHIP).
//
// One iteration costs one barrier of the cluster:
//
//   update_flow     band and ghost: needs the dual left and above (of row 0 and the ghost: from the mailbox)
//   -- the block's barrier
//   update_dual     edge rows first: they go to the mailboxes of both neighbours, with the block's share of the change
//   -- arrive at the cluster's barrier
//   update_dual     all other rows, while the mail is on its way
//   -- wait at the cluster's barrier; every block adds up the same shares in the same order: all stop together
//
// There are two sets of mailboxes, used in turn, so no block overwrites what its neighbour still reads.
//
// Compiled with THREADS (of a block), CLUSTER (blocks), ON_CHIP (0 to 3: how many of dual, flow and data term are in
// shared memory) and MEDIAN (side of the window, odd). Tests compile this file for a CPU, one thread for each thread;
// the primitives below then come from tests/kineflow/flow/solvers/cuda_on_cpu.h.

#ifdef __CUDACC__

constexpr int WARP = 32;

__device__ __forceinline__ float* shared_memory() {
    extern __shared__ float4 memory[];
    return reinterpret_cast<float*>(memory);
}

__device__ __forceinline__ void block_sync() { __syncthreads(); }

// What a thread wrote before it arrives, any thread of the cluster reads after it has waited.
__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The same place in the shared memory of another block of the cluster.
template <typename T>
__device__ __forceinline__ T* remote(T* place, int rank) {
    unsigned long long there;
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(place), "r"(rank));
    return reinterpret_cast<T*>(there);
}

// Sum over the lanes of a warp, the same in each of them.
__device__ __forceinline__ float warp_sum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffff, value, distance);
    return value;
}

#endif

__device__ __forceinline__ void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ __forceinline__ float2 operator*(float2 a, float2 b) { return {a.x * b.x, a.y * b.y}; }
__device__ __forceinline__ float2 operator*(float a, float2 b) { return {a * b.x, a * b.y}; }
__device__ __forceinline__ float dot(float2 a, float2 b) { return a.x * b.x + a.y * b.y; }

constexpr int WARPS = THREADS / WARP;
constexpr float LEAST_SQUARED_GRADIENT = 1.1920929e-7f;  // float32's epsilon

// ---------------------------------------------------------------------------------------------------------------------
// What the host passes; cluster.py has the same fields in the same order.

struct Settings {
    int levels;
    int warps;
    int outer_iterations;
    int inner_iterations;
    int check_every;
    int clamp;                 // outside of I1 a warp sees the nearest pixel, not 0
    float sharpness;           // of the bicubic kernel
    float limit;               // λ·θ
    float tau;
    float tau_over_theta;
    float settled;             // mean squared change, px², at which a pair stops; 0: never
    float step_up;             // a displacement on a level, in pixels of the next finer one
};

struct Level {
    int height;
    int width;
    int start;                 // its first pixel in the packed frames of a pair
};

// ---------------------------------------------------------------------------------------------------------------------
// Where a block's values are.

// The pixels of some rows that fall to this thread: THREADS apart, without a division at each.
struct Walk {
    int row, x, pixel;
    int row_step, x_step, width;

    __device__ __forceinline__ explicit Walk(int width)
        : row(static_cast<int>(threadIdx.x) / width), x(static_cast<int>(threadIdx.x) % width), pixel(threadIdx.x),
          row_step(THREADS / width), x_step(THREADS % width), width(width) {}

    __device__ __forceinline__ Walk from_row(int first) const {
        Walk moved = *this;
        moved.row += first;
        moved.pixel += first * width;
        return moved;
    }

    __device__ __forceinline__ void next() {
        pixel += THREADS;
        row += row_step;
        x += x_step;
        if (x >= width) {
            x -= width;
            row += 1;
        }
    }
};

// Rows of the dual that neighbours have sent, each [width].
struct Mailbox {
    float2* above_y;           // of the last row above; 0 at the top of the frame
    float2 *below_x, *below_y; // of the first row below
};

struct Band {
    int height, width;         // of the level
    int begin, rows;           // rows of the level that are this block's; the last blocks may have none
    int rows_and_ghost;        // at the bottom of the frame there is no ghost
    Walk walk;

    float2* flow;              // (u, v), [rows and ghost, width]
    float2 *dual_x, *dual_y;   // θ·p of (u, v), along x and along y, [rows, width]
    float2* grad;              // ∇I1, warped, and
    float* rho;                // ρ(u) = rho + ∇I1·u, [rows and ghost, width]
    float2* mail;              // two sets of mailboxes

    __device__ __forceinline__ Mailbox mailbox(int turn) const {
        float2* first = mail + turn * 3 * width;
        return {first, first + width, first + 2 * width};
    }
};

// Sums that blocks exchange; they come first in shared memory, whatever the level.
struct Sums {
    float* of_warps;           // [WARPS]
    float* of_blocks;          // [2, CLUSTER]: two sets, used in turn
    float* total;              // [1]
};

constexpr int SUMS = (WARPS + 2 * CLUSTER + 1 + 3) / 4 * 4;

__device__ __forceinline__ Sums sums_of_block() {
    float* first = shared_memory();
    return {first, first + WARPS, first + WARPS + 2 * CLUSTER};
}

// Rows are divided evenly, rounded up, so that only the last blocks can have fewer or none.
__device__ Band band_of_block(const Level& level, int rank, float* workspace) {
    const int share = (level.height + CLUSTER - 1) / CLUSTER;
    const int begin = min(rank * share, level.height), end = min(begin + share, level.height);
    const bool has_ghost = begin < end && end < level.height;
    const int plane = share * level.width, plane_with_ghost = plane + level.width;

    float* on_chip = shared_memory() + SUMS;
    const auto take = [](float*& from, int pixels) {
        float2* taken = reinterpret_cast<float2*>(from);
        from += 2 * pixels;
        return taken;
    };
    float2* mail = take(on_chip, 6 * level.width);
    float2* dual = take(ON_CHIP >= 1 ? on_chip : workspace, 2 * plane);
    float2* flow = take(ON_CHIP >= 2 ? on_chip : workspace, plane_with_ghost);
    float2* grad = take(ON_CHIP >= 3 ? on_chip : workspace, plane_with_ghost);
    float* rho = ON_CHIP >= 3 ? on_chip : workspace;
    return {
        level.height, level.width, begin, end - begin, end - begin + has_ghost, Walk(level.width),
        flow, dual, dual + plane, grad, rho, mail,
    };
}

// ---------------------------------------------------------------------------------------------------------------------
// Between levels and between blocks of iterations: through the flow in global memory.

__device__ void store_flow(const Band& band, float* flow) {
    float *u = flow + band.begin * band.width, *v = u + band.height * band.width;
    for (Walk at = band.walk; at.row < band.rows; at.next()) {
        u[at.pixel] = band.flow[at.pixel].x;
        v[at.pixel] = band.flow[at.pixel].y;
    }
}

__device__ void start_from_zero(const Band& band) {
    for (Walk at = band.walk; at.row < band.rows_and_ghost; at.next()) band.flow[at.pixel] = {0, 0};
}

// Where the centre of a pixel of the finer level lies on the coarser one, and between which two pixels.
struct Between {
    int first, second;
    float weight;              // of the second

    __device__ __forceinline__ Between(int pixel, int fine, int coarse) {
        const float centre = fminf(fmaxf((pixel + 0.5f) * coarse / fine - 0.5f, 0.0f), coarse - 1.0f);
        first = static_cast<int>(centre);
        second = min(first + 1, coarse - 1);
        weight = centre - first;
    }

    __device__ __forceinline__ float of(float a, float b) const { return a + weight * (b - a); }
};

// Bilinear enlargement of the flow of the next coarser level.
__device__ void start_from(const Level& coarse, const float* flow, const Band& band, float step_up) {
    for (Walk at = band.walk; at.row < band.rows_and_ghost; at.next()) {
        const Between y(band.begin + at.row, band.height, coarse.height), x(at.x, band.width, coarse.width);
        const auto enlarged = [&](const float* field) {
            const float *above = field + y.first * coarse.width, *below = field + y.second * coarse.width;
            return step_up * x.of(y.of(above[x.first], below[x.first]), y.of(above[x.second], below[x.second]));
        };
        band.flow[at.pixel] = {enlarged(flow), enlarged(flow + coarse.height * coarse.width)};
    }
}

__device__ void clear_dual(const Band& band) {
    for (Walk at = band.walk; at.row < band.rows; at.next()) band.dual_x[at.pixel] = band.dual_y[at.pixel] = {0, 0};
    for (int i = threadIdx.x; i < 6 * band.width; i += THREADS) band.mail[i] = {0, 0};
}

__device__ __forceinline__ void order(float& low, float& high) {
    const float least = fminf(low, high);
    high = fmaxf(low, high);
    low = least;
}

// Median over MEDIAN × MEDIAN pixels, the nearest pixel standing for those outside.
//
// Forgetful selection: of the first half of the values and two more, the least and the greatest cannot be the median;
// drop both, take one more value, and go on. All indices are known to the compiler, so the values stay in registers.
__device__ float median_at(const float* field, int y, int x, int height, int width) {
    constexpr int COUNT = MEDIAN * MEDIAN, HELD = COUNT / 2 + 2, RADIUS = MEDIAN / 2;
    const auto tap = [&](int i) {
        const int row = min(max(y + i / MEDIAN - RADIUS, 0), height - 1);
        const int column = min(max(x + i % MEDIAN - RADIUS, 0), width - 1);
        return field[row * width + column];
    };
    float held[HELD];
#pragma unroll
    for (int i = 0; i < HELD; ++i) held[i] = tap(i);
#pragma unroll
    for (int last = HELD - 1; last >= 2; --last) {
#pragma unroll
        for (int low = 0; low < (last + 1) / 2; ++low) order(held[low], held[last - low]);
#pragma unroll
        for (int low = 1; low <= last / 2; ++low) order(held[0], held[low]);
#pragma unroll
        for (int high = (last + 1) / 2; high < last; ++high) order(held[high], held[last]);
        if (last > 2) held[0] = tap(2 * HELD - 1 - last);
    }
    return held[1];
}

__device__ void filter_flow(const Band& band, float* flow) {
    store_flow(band, flow);
    cluster_sync();
    for (Walk at = band.walk; at.row < band.rows_and_ghost; at.next()) {
        const int y = band.begin + at.row;
        band.flow[at.pixel] = {
            median_at(flow, y, at.x, band.height, band.width),
            median_at(flow + band.height * band.width, y, at.x, band.height, band.width),
        };
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The warp: the data term, linear around the flow of this moment.

// Keys' cubic kernel at the four pixels -1, 0, 1, 2 around an offset in [0, 1).
__device__ __forceinline__ void cubic_weights(float offset, float sharpness, float (&weights)[4]) {
    const auto near = [&](float t) { return ((sharpness + 2) * t - (sharpness + 3)) * t * t + 1; };
    const auto far = [&](float t) { return ((t - 5) * t + 8) * t * sharpness - 4 * sharpness; };
    weights[0] = far(offset + 1);
    weights[1] = near(offset);
    weights[2] = near(1 - offset);
    weights[3] = far(2 - offset);
}

// The four pixels along one axis that a sample is made of, and their weights.
struct Taps {
    int pixel[4];
    float weight[4];

    __device__ __forceinline__ Taps(float place, int side, const Settings& settings) {
        if (settings.clamp) place = fminf(fmaxf(place, -2.0f), side + 1.0f);  // all farther ones see the edge only
        const float floor = floorf(place);
        cubic_weights(place - floor, settings.sharpness, weight);
        const int first = static_cast<int>(fminf(fmaxf(floor, -4.0f), side + 4.0f)) - 1;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            pixel[i] = min(max(first + i, 0), side - 1);
            if (!settings.clamp && pixel[i] != first + i) weight[i] = 0;
        }
    }
};

struct Sample {
    float image;
    float2 grad;
};

__device__ __forceinline__ Sample sample(const float4* frames, const Taps& y, const Taps& x, int width) {
    Sample sum{0, {0, 0}};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const float4* row = frames + y.pixel[j] * width;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float weight = x.weight[i] * y.weight[j];
            const float4 tap = row[x.pixel[i]];
            sum.image += weight * tap.x;
            sum.grad.x += weight * tap.y;
            sum.grad.y += weight * tap.z;
        }
    }
    return sum;
}

__device__ void linearise(const float4* frames, const Band& band, const Settings& settings) {
    for (Walk at = band.walk; at.row < band.rows_and_ghost; at.next()) {
        const int y = band.begin + at.row;
        const float2 flow = band.flow[at.pixel];
        const Taps taps_y(y + flow.y, band.height, settings), taps_x(at.x + flow.x, band.width, settings);
        const Sample warped = sample(frames, taps_y, taps_x, band.width);
        const float first_frame = frames[y * band.width + at.x].w;
        band.grad[at.pixel] = warped.grad;
        band.rho[at.pixel] = warped.image - dot(warped.grad, flow) - first_frame;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// One iteration.

// u = v + θ div p, where v = u - ∇I1·clamp(ρ/|∇I1|², ±λθ), at one pixel; ``divergence`` is θ div p.
// Returns |change|².
__device__ __forceinline__ float update_flow(const Band& band, int pixel, float2 divergence, const Settings& settings) {
    const float2 flow = band.flow[pixel], grad = band.grad[pixel];
    const float rho = band.rho[pixel] + dot(grad, flow);
    const float step = rho * (1 / fmaxf(dot(grad, grad), LEAST_SQUARED_GRADIENT));
    const float2 change = divergence - fminf(fmaxf(step, -settings.limit), settings.limit) * grad;
    band.flow[pixel] = flow + change;
    return dot(change, change);
}

// The divergence is backward differences. Returns the sum of |change|² over this thread's pixels of the band.
__device__ float update_flow(const Band& band, int turn, const Settings& settings) {
    float change = 0;
    for (Walk at = band.walk.from_row(1); at.row < band.rows; at.next()) {
        const float2 *dual_x = band.dual_x + at.pixel, *dual_y = band.dual_y + at.pixel;
        float2 divergence = dual_x[0] + dual_y[0] - dual_y[-band.width];
        if (at.x > 0) divergence = divergence - dual_x[-1];
        change += update_flow(band, at.pixel, divergence, settings);
    }

    const Mailbox mailbox = band.mailbox(turn);
    const int edges = (band.rows > 0) + (band.rows_and_ghost > band.rows);
    for (Walk at = band.walk; at.row < edges; at.next()) {
        const bool ghost = at.row == 1;
        const float2 *dual_x = (ghost ? mailbox.below_x : band.dual_x) + at.x;
        const float2 *dual_y = (ghost ? mailbox.below_y : band.dual_y) + at.x;
        const float2 *above_y = (ghost ? band.dual_y + (band.rows - 1) * band.width : mailbox.above_y) + at.x;
        float2 divergence = dual_x[0] + dual_y[0] - above_y[0];
        if (at.x > 0) divergence = divergence - dual_x[-1];
        const int pixel = ghost ? band.rows * band.width + at.x : at.x;
        const float squared = update_flow(band, pixel, divergence, settings);
        if (!ghost) change += squared;  // it is its owner's
    }
    return change;
}

// p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|), forward differences, at one pixel.
__device__ __forceinline__ void update_dual(
    const Band& band, int pixel, bool has_right, bool has_below, const Settings& settings) {
    const float2* flow = band.flow + pixel;
    const float2 along_x = has_right ? flow[1] - flow[0] : float2{0, 0};
    const float2 along_y = has_below ? flow[band.width] - flow[0] : float2{0, 0};
    const float2 squared = along_x * along_x + along_y * along_y;
    const float2 shrink = {
        1 / (1 + settings.tau_over_theta * sqrtf(squared.x)),
        1 / (1 + settings.tau_over_theta * sqrtf(squared.y)),
    };
    band.dual_x[pixel] = (band.dual_x[pixel] + settings.tau * along_x) * shrink;
    band.dual_y[pixel] = (band.dual_y[pixel] + settings.tau * along_y) * shrink;
}

// First and last row, which neighbours wait for: sent to the mailboxes that they open in ``turn``.
__device__ void update_dual_of_edges(const Band& band, int rank, int turn, const Settings& settings) {
    const Mailbox mailbox = band.mailbox(turn);  // of this block; the neighbours' are at the same place of theirs
    const bool has_ghost = band.rows_and_ghost > band.rows;
    for (Walk at = band.walk; at.row < min(band.rows, 2); at.next()) {
        const int row = at.row == 0 ? 0 : band.rows - 1, pixel = row * band.width + at.x;
        update_dual(band, pixel, at.x + 1 < band.width, row + 1 < band.rows_and_ghost, settings);
        if (row == 0 && rank > 0) {
            remote(mailbox.below_x, rank - 1)[at.x] = band.dual_x[pixel];
            remote(mailbox.below_y, rank - 1)[at.x] = band.dual_y[pixel];
        }
        if (row == band.rows - 1 && has_ghost) remote(mailbox.above_y, rank + 1)[at.x] = band.dual_y[pixel];
    }
}

__device__ void update_dual_inside(const Band& band, const Settings& settings) {
    for (Walk at = band.walk.from_row(1); at.row < band.rows - 1; at.next())
        update_dual(band, at.pixel, at.x + 1 < band.width, true, settings);
}

// In an order that never changes, so that a run can be repeated to the last bit. For all lanes of one warp.
__device__ __forceinline__ float sum_by_one_warp(const float* values, int count) {
    float sum = 0;
    for (int i = threadIdx.x % WARP; i < count; i += WARP) sum += values[i];
    return warp_sum(sum);
}

// Returns the sum of |change|² over the level, the same in every thread of the cluster. ``turn`` says which mailboxes
// and sums hold the news; afterwards the others do.
__device__ float iterate(const Band& band, const Sums& sums, int rank, int& turn, const Settings& settings) {
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const bool adds = warp == WARPS - 1;  // the last one has the least to do with the edges

    const float change_of_warp = warp_sum(update_flow(band, turn, settings));
    if (lane == 0) sums.of_warps[warp] = change_of_warp;
    block_sync();

    turn = 1 - turn;
    if (adds) {
        const float change_of_block = sum_by_one_warp(sums.of_warps, WARPS);
        float* share = sums.of_blocks + turn * CLUSTER + rank;
        for (int to = lane; to < CLUSTER; to += WARP) *remote(share, to) = change_of_block;
    }
    update_dual_of_edges(band, rank, turn, settings);
    cluster_arrive();
    update_dual_inside(band, settings);
    cluster_wait();

    if (adds) {
        const float change = sum_by_one_warp(sums.of_blocks + turn * CLUSTER, CLUSTER);
        if (lane == 0) *sums.total = change;
    }
    block_sync();
    return *sums.total;
}

// ---------------------------------------------------------------------------------------------------------------------
// From the inside out: a warp, a level, a pair.

__device__ void minimise(
    const Band& band, const Sums& sums, int rank, int& turn, float* flow, const Settings& settings) {
    const float settled = settings.settled * band.height * band.width;
    int since_check = 0;
    for (int outer = 0; outer < settings.outer_iterations; ++outer) {
        if (MEDIAN > 1) filter_flow(band, flow);
        block_sync();  // iterations divide the pixels among the threads in another way
        for (int inner = 0; inner < settings.inner_iterations; ++inner) {
            const float change = iterate(band, sums, rank, turn, settings);
            if (settled == 0 || ++since_check < settings.check_every) continue;
            since_check = 0;
            if (change <= settled) return;
        }
    }
}

// frames: float4 [pairs, pixels of all levels]; flow: [pairs, 2, H, W]; workspace: [blocks, workspace_per_block], for
// what is not on the chip.
extern "C" __global__ void __launch_bounds__(THREADS, 1) __cluster_dims__(CLUSTER, 1, 1) tvl1(
    Settings settings, const Level* levels, const float4* frames, long long frames_per_pair, float* flow,
    float* workspace, long long workspace_per_block) {
    const int pair = blockIdx.x / CLUSTER, rank = blockIdx.x % CLUSTER;
    frames += pair * frames_per_pair;
    flow += 2LL * pair * levels[0].height * levels[0].width;
    workspace += blockIdx.x * workspace_per_block;
    const Sums sums = sums_of_block();

    for (int number = settings.levels - 1; number >= 0; --number) {
        const Band band = band_of_block(levels[number], rank, workspace);
        if (number == settings.levels - 1)
            start_from_zero(band);
        else
            start_from(levels[number + 1], flow, band, settings.step_up);
        clear_dual(band);
        cluster_sync();  // from here on neighbours send mail, and the flow of the coarser level is written over

        int turn = 0;
        for (int warp = 0; warp < settings.warps; ++warp) {
            linearise(frames + levels[number].start, band, settings);
            minimise(band, sums, rank, turn, flow, settings);
        }
        store_flow(band, flow);
        cluster_sync();  // the next level reads it; and no block leaves while another may still reach for its memory
    }
}
