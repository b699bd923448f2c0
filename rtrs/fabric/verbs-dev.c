/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices as a context uses them, and their removal.
 *
 * The verbs context of a device belongs to librdmacm, which opens it once per
 * process and keeps it open until it notices, at some later call, that the
 * device is gone. But drivers without disassociation (soft-RoCE is one) let the
 * removal of a device wait for every open descriptor of it. So whoever is the
 * last to use a removed device puts /dev/null in the place of its descriptors:
 * the kernel gets them back, and librdmacm's own close later does no harm.
 */
#include "rtrs/fabric/verbs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Who uses a verbs context, of all contexts of the process. */
struct use {
	struct ibv_context *verbs;
	unsigned n;
	struct use *prev, *next;
};
static struct use *uses;
static pthread_mutex_t uses_lock = PTHREAD_MUTEX_INITIALIZER;

static int
use(struct ibv_context *verbs)
{
	struct use *u;
	int r = 0;

	pthread_mutex_lock(&uses_lock);
	DL_SEARCH_SCALAR(uses, u, verbs, verbs);
	if (u) {
		u->n++;
	} else {
		u = calloc(1, sizeof(*u));
		if (u) {
			u->verbs = verbs;
			u->n = 1;
			DL_APPEND(uses, u);
		} else {
			r = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&uses_lock);
	return r;
}

static void
give_back(struct ibv_context *verbs)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup3(fd, verbs->cmd_fd, O_CLOEXEC);
	dup3(fd, verbs->async_fd, O_CLOEXEC);
	close(fd);
}

static void
unuse(struct ibv_context *verbs, bool removed)
{
	struct use *u;

	pthread_mutex_lock(&uses_lock);
	DL_SEARCH_SCALAR(uses, u, verbs, verbs);
	if (u && !--u->n) {
		DL_DELETE(uses, u);
		free(u);
		if (removed)
			give_back(verbs);
	}
	pthread_mutex_unlock(&uses_lock);
}

static unsigned
caps_of(const struct ibv_device_attr *a)
{
	unsigned caps = 0, f = a->device_cap_flags;

	if (f & IBV_DEVICE_MEM_WINDOW && a->max_mw)
		caps |= FABRIC_CAP_MW_PD;
	if (f & (IBV_DEVICE_MEM_WINDOW_TYPE_2A |
		 IBV_DEVICE_MEM_WINDOW_TYPE_2B) &&
	    f & IBV_DEVICE_MEM_MGT_EXTENSIONS && a->max_mw)
		caps |= FABRIC_CAP_MW;
	if (a->max_srq && a->max_srq_wr)
		caps |= FABRIC_CAP_SHARED_RECV;
	return caps;
}

unsigned
vb_dev_caps(struct ibv_context *verbs)
{
	struct ibv_device_attr a;

	return ibv_query_device(verbs, &a) ? 0 : caps_of(&a);
}

static int
numa_node(const struct ibv_device *d)
{
	char path[sizeof(d->ibdev_path) + 32];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/device/numa_node", d->ibdev_path);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1)
		node = -1;
	fclose(f);
	return node;
}

static int
nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ? -errno : 0;
}

static int
watch_comp(struct vb_dev *dev)
{
	int r;

	dev->comp = ibv_create_comp_channel(dev->verbs);
	if (!dev->comp)
		return vb_errno();
	r = nonblock(dev->comp->fd);
	if (!r)
		r = nonblock(dev->verbs->async_fd);
	if (!r)
		r = vb_ctx_watch(dev->ctx, dev->comp->fd, &dev->comp_src);
	if (!r)
		r = vb_ctx_watch(dev->ctx, dev->verbs->async_fd,
				 &dev->async_src);
	return r;
}

/* Without it the device's removal may have to wait: not worth an error. */
static void
make_sentinel(struct vb_dev *dev, struct rdma_cm_id *id)
{
	struct sockaddr_storage ss;
	struct sockaddr *sa = (void *)&ss;

	vb_addr_plain(&ss, rdma_get_local_addr(id));
	if (ss.ss_family == AF_INET)
		((struct sockaddr_in *)&ss)->sin_port = 0;
	else if (ss.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&ss)->sin6_port = 0;
	else
		return;
	if (rdma_create_id(dev->ctx->channel, &dev->sentinel,
			   &dev->sentinel_src, vb_port_space(sa)) < 0) {
		dev->sentinel = NULL;
		return;
	}
	if (rdma_bind_addr(dev->sentinel, sa) < 0 ||
	    dev->sentinel->verbs != dev->verbs) {
		log_dbg(dev->ctx->log, "%s: its removal is not watched: %s",
			dev->name, strerror(errno));
		rdma_destroy_id(dev->sentinel);
		dev->sentinel = NULL;
	}
}

static int
dev_new(struct vb_ctx *ctx, struct rdma_cm_id *id, struct vb_dev **ret)
{
	struct vb_dev *dev = calloc(1, sizeof(*dev));
	int r;

	if (!dev)
		return -ENOMEM;
	dev->sentinel_src.tag = VB_SENTINEL;
	dev->comp_src.tag = VB_COMP;
	dev->async_src.tag = VB_ASYNC;
	dev->ctx = ctx;
	dev->verbs = id->verbs;
	r = use(dev->verbs);
	if (r < 0) {
		free(dev);
		return r;
	}
	snprintf(dev->name, sizeof(dev->name), "%s",
		 ibv_get_device_name(dev->verbs->device));
	DL_APPEND(ctx->devs, dev);
	r = -ibv_query_device(dev->verbs, &dev->attr);
	if (!r)
		r = watch_comp(dev);
	if (r) {
		vb_dev_free(dev);
		return r;
	}
	dev->caps = caps_of(&dev->attr);
	dev->numa_node = numa_node(dev->verbs->device);
	make_sentinel(dev, id);
	log_dbg(ctx->log,
		"%s: max_qp_wr %d, max_cqe %d, max_srq_wr %d, max_mw %d, "
		"flags %#x",
		dev->name, dev->attr.max_qp_wr, dev->attr.max_cqe,
		dev->attr.max_srq_wr, dev->attr.max_mw,
		dev->attr.device_cap_flags);
	*ret = dev;
	return 0;
}

int
vb_dev_get(struct vb_ctx *ctx, struct rdma_cm_id *id, struct vb_dev **ret)
{
	struct vb_dev *dev;
	int r;

	if (!id->verbs)
		return -ENODEV;
	DL_FOREACH(ctx->devs, dev)
		if (dev->verbs == id->verbs && !dev->removed)
			break;
	if (!dev) {
		r = dev_new(ctx, id, &dev);
		if (r < 0)
			return r;
	}
	dev->refs++;
	*ret = dev;
	return 0;
}

void
vb_dev_free(struct vb_dev *dev)
{
	struct vb_ctx *ctx = dev->ctx;

	DL_DELETE(ctx->devs, dev);
	if (dev->comp) {
		/* Not every kernel forgets a descriptor by itself: others may
		 * hold the same file. */
		epoll_ctl(ctx->epfd, EPOLL_CTL_DEL, dev->comp->fd, NULL);
		epoll_ctl(ctx->epfd, EPOLL_CTL_DEL, dev->verbs->async_fd, NULL);
		ibv_destroy_comp_channel(dev->comp);
	}
	if (dev->sentinel)
		rdma_destroy_id(dev->sentinel);
	unuse(dev->verbs, dev->removed);
	free(dev);
}

void
vb_dev_unref(struct vb_dev *dev)
{
	if (!--dev->refs && dev->removed)
		vb_dev_free(dev);
}

void
vb_dev_removed(struct vb_dev *dev)
{
	struct vb_ctx *ctx = dev->ctx;
	struct vb_conn *c, *next;

	if (dev->removed)
		return;
	log_warn(ctx->log, "%s: the device is removed", dev->name);
	dev->removed = true;
	dev->refs++;
	DL_FOREACH_SAFE(ctx->conns, c, next)
		if (c->dev == dev)
			vb_conn_removed(c);
	vb_dev_unref(dev);
}

/* A queue pair or a completion queue of a connection, perhaps another's. */
static void
async_conn(struct vb_dev *dev, struct vb_conn *c, int err)
{
	__atomic_store_n(&c->async_err, err, __ATOMIC_RELEASE);
	vb_ctx_wake(c->ctx);
}

void
vb_dev_async(struct vb_dev *dev)
{
	const struct log *log = dev->ctx->log;
	struct ibv_async_event ev;

	while (!ibv_get_async_event(dev->verbs, &ev)) {
		log_dbg(log, "%s: %s", dev->name,
			ibv_event_type_str(ev.event_type));
		switch (ev.event_type) {
		case IBV_EVENT_QP_ACCESS_ERR:
		case IBV_EVENT_QP_REQ_ERR:
			async_conn(dev, ev.element.qp->qp_context, -EPROTO);
			break;
		case IBV_EVENT_QP_FATAL:
			async_conn(dev, ev.element.qp->qp_context, -EIO);
			break;
		case IBV_EVENT_QP_LAST_WQE_REACHED:
			/* How a queue pair with shared receives tells that it
			 * is in the error state: it has none to flush. */
			async_conn(dev, ev.element.qp->qp_context,
				   VB_ASYNC_DRAINED);
			break;
		case IBV_EVENT_CQ_ERR:
			async_conn(dev, ev.element.cq->cq_context, -EIO);
			break;
		case IBV_EVENT_PORT_ERR:
		case IBV_EVENT_PORT_ACTIVE:
			log_info(log, "%s: port %d: %s", dev->name,
				 ev.element.port_num,
				 ibv_event_type_str(ev.event_type));
			break;
		case IBV_EVENT_DEVICE_FATAL:
		case IBV_EVENT_SRQ_ERR:
			log_err(log, "%s: %s", dev->name,
				ibv_event_type_str(ev.event_type));
			break;
		default:
			break;
		}
		/* Not before: until then the queue pair stays. */
		ibv_ack_async_event(&ev);
	}
}
